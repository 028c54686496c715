//! The router nested in that of another program.

use axum::{Router, body::Body};

use crate::support::{Client, TestApp, operations};

const PREFIX: &str = "/shop/v1";

/// The ways to nest a router.
fn nested(app: &TestApp) -> [(&'static str, Router); 2] {
    let shop = || souk::http::router(app.shop.clone());
    let own = Router::new().route("/", axum::routing::get(async || "mine"));
    [("nest", own.clone().nest(PREFIX, shop())), ("nest_service", own.nest_service(PREFIX, shop()))]
}

/// A path of the document with ids that do not exist.
fn filled(template: &str) -> String {
    let order = "0".repeat(32);
    let path = template.replace("{product_id}", "NOTHING").replace("{order_id}", &order).replace("{number}", "1");
    let path = path.replace("{notice_id}", &format!("1-{order}")).replace("{keywords}", "cable/red");
    path.replace("{provider}", "stripe")
}

#[tokio::test]
async fn every_route_answers_as_it_does_at_the_root() {
    let app = TestApp::new().await;
    let customer = app.customer("asha").await;
    let known = operations();
    assert!(known.len() > 40);
    for (kind, router) in nested(&app) {
        let below = TestApp::through(router, PREFIX, &customer);
        for (path, method, operation) in &known {
            if path == "/auth/logout" {
                continue;
            }
            let (path, takes_body) = (filled(path), !operation["requestBody"].is_null());
            let send = async |client: &Client, path: &str| {
                let headers: &[_] = if takes_body { &[("content-type", "application/json")] } else { &[] };
                let body = if takes_body { Body::from("{}") } else { Body::empty() };
                client.raw(client.request(method, path, headers, body)).await
            };
            for query in ["", "?limit=1&after="] {
                let path = format!("{path}{query}");
                let (there, here) = (send(&customer, &path).await, send(&below, &path).await);
                assert_eq!(here.status, there.status, "{kind} {method} {path}: {here:?}");
                assert!(!here.status.is_server_error(), "{kind} {method} {path}: {here:?}");
                if here.header("content-type") == "application/problem+json" {
                    let (there, here) = (there.json(), here.json());
                    assert_eq!(here["code"], there["code"], "{kind} {method} {path}");
                    let instance = path.split('?').next().unwrap();
                    assert_eq!(there["instance"], instance);
                    assert_eq!(here["instance"], format!("{PREFIX}{instance}"));
                }
            }
        }
        below.delete("/cart").await.problem(405, "method-not-allowed");
        below.get("/nowhere").await.problem(404, "not-found");
    }
}

#[tokio::test]
async fn links_and_locations_include_the_prefix() {
    let app = TestApp::new().await;
    let seller = app.seller().await;
    app.caught_up().await;
    for (kind, router) in nested(&app) {
        let customer = TestApp::through(router, PREFIX, &app.customer(&kind.replace('_', "-")).await);
        let root = app.again(&customer);

        let first = customer.get("/products?q=electronics&limit=1").await;
        assert_eq!(first.expect(200)["total"], 2, "{kind}");
        let link = first.header("link");
        let next = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).unwrap();
        let next = next.strip_prefix(PREFIX).unwrap_or_else(|| panic!("{kind}: {link}"));
        let second = customer.get(next).await.expect(200);
        assert_ne!(second["items"][0]["id"], first.json()["items"][0]["id"]);

        customer.add("CABLE", 1).await;
        let placed = customer.check_out().await;
        let order = placed.expect(201)["order_id"].as_str().unwrap().to_owned();
        assert_eq!(placed.header("location"), format!("{PREFIX}/orders/{order}"));
        customer.pay(&order, "tok_success").await.expect(200);
        assert_eq!(customer.shown(&order).await["status"], "confirmed");

        let listed = customer.get("/orders?limit=1").await;
        assert_eq!(listed.expect(200)["items"][0]["order_id"], order, "{kind}");
        let described = customer.get("/openapi.json").await.expect(200);
        assert_eq!(described["servers"][0]["url"], PREFIX);
        let at_root = TestApp::through(app.router.clone(), "", &root).get("/openapi.json").await.expect(200);
        assert_eq!(at_root["servers"][0]["url"], "/");
        let of_payment = customer.get("/metrics").await.expect_text(200).contains(r#"route="/payment""#);
        assert!(of_payment, "{kind}: metrics name routes by their description");
    }
    drop(seller);
}

#[tokio::test]
async fn every_link_of_every_page_leads_to_something() {
    let app = TestApp::new().await;
    let customer = app.customer("asha").await;
    for (kind, router) in nested(&app) {
        let below = TestApp::through(router, "", &customer);
        for page in ["", "/docs", "/problems", "/problems/not-found"] {
            let shown = below.get_with(&format!("{PREFIX}{page}"), &[("accept", "text/html")]).await;
            let html = shown.expect_text(200);
            let links: Vec<&str> = html.split(['"', '\'']).filter(|text| text.starts_with('/')).collect();
            assert!(links.len() >= 4, "{kind} {page}: {html}");
            for link in links {
                assert!(link.starts_with(PREFIX), "{kind} {page}: {link}");
                // What needs a token or is asked with another method is there, too.
                let found = below.get_with(link, &[("accept", "*/*")]).await;
                assert!(found.status.as_u16() != 404, "{kind} {page}: {link}");
            }
        }
    }
}
