// Places an order with a client whose types openapi-typescript makes and whose requests openapi-fetch sends.
import createClient from "openapi-fetch";
import type { components, paths } from "./generated/openapi-typescript";

type Problem = components["schemas"]["Problem"];
type OrderStatus = components["schemas"]["OrderStatus"];

const baseUrl = process.env["SHOP"];
if (!baseUrl) throw new Error("SHOP must be the address of a demo shop");
const shop = createClient<paths>({ baseUrl });

function got<T>(result: { data?: T; error?: unknown; response: Response }): T {
  if (result.data === undefined) {
    throw new Error(`${result.response.url}: ${result.response.status} ${JSON.stringify(result.error)}`);
  }
  return result.data;
}

// A problem's code says which members it has.
function explained(problem: Problem): string {
  switch (problem.code) {
    case "insufficient-stock":
      return `${problem.available} of ${problem.product_id} are left`;
    case "total-mismatch":
      return `it costs ${problem.computed_total.amount}`;
    case "invalid-body":
      return problem.errors.map((fault) => `${fault.pointer} ${fault.detail}`).join(", ");
    default:
      return problem.title;
  }
}

const body = { email: "customer@demo.example", password: "souk-demo-password" };
const tokens = got(await shop.POST("/auth/login", { body }));
shop.use({
  onRequest({ request }) {
    request.headers.set("Authorization", `Bearer ${tokens.access_token}`);
    return request;
  },
});

const path = { keywords: "wireless mouse" };
const found = got(await shop.GET("/products/search_item={keywords}", { params: { path, query: { limit: 5 } } }));
if (found.items.length === 0) throw new Error("the search route found nothing");
const slashed = await shop.GET("/products/search_item={keywords}", { params: { path: { keywords: "a/b" } } });
if (slashed.response.status !== 200) throw new Error("a keyword may have a slash");

let product: string | undefined;
for (const hit of found.items) {
  const page = got(await shop.GET("/products/{product_id}", { params: { path: { product_id: hit.id } } }));
  if (page.quantity > 0 && page.purchasable) product ??= page.id;
}
if (product === undefined) throw new Error("nothing is in stock");

const key = (what: string) => ({ "Idempotency-Key": `openapi-fetch-${what}-${process.pid}-${Date.now()}` });
const addition = { items: [{ product_id: product, quantity: 1 }] };
const cart = got(await shop.POST("/cart/add_products", { params: { header: key("add") }, body: addition }));
if (!cart.total) throw new Error("the cart has no total");
const shipping_address = { name: "Asha Rao", line1: "1 MG Road", city: "Pune", postal_code: "411001", country: "IN" } as const;
const checkout = { total_price: cart.total, shipping_address };
const wrong = await shop.POST("/checkout", { body: { ...checkout, total_price: 1 } });
if (!wrong.error || wrong.error.code !== "total-mismatch") throw new Error("another total is refused");
console.log(explained(wrong.error));
const order = got(await shop.POST("/checkout", { params: { header: key("checkout") }, body: checkout }));
const payment = { order_id: order.order_id, payment_method: "tok_success" };
const paid = got(await shop.POST("/payment", { params: { header: key("payment") }, body: payment }));
if (paid.status !== "success") throw new Error(paid.status);
const params = { path: { order_id: order.order_id } };
const shown = got(await shop.GET("/order_status={order_id}", { params }));
const expected: OrderStatus[] = ["paid", "confirmed"];
if (!expected.includes(shown.status)) throw new Error(shown.status);
console.log(`openapi-fetch: order ${shown.number} is ${shown.status}`);
