//! Forged access tokens, each refused for its own reason, beside valid ones that are accepted: the rules of RFC 8725 as
//! a table. Depends on `identity`, aws-lc-rs, `serde_json`.

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair},
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use super::{ACCOUNT, SESSION, START, World};
use crate::{
    domain::{account::Role, entity::Timestamp, ids::UserId},
    identity::{
        Identity, RevocationStatus, TokenError,
        tokens::{MS_PER_SECOND, hex},
    },
};

const START_SECONDS: u64 = START.0 / MS_PER_SECOND;

/// What a forger has: our public key and its name, our claims, and in some cases our signature.
struct Forger {
    ours: Ed25519KeyPair,
    theirs: Ed25519KeyPair,
    kid: String,
}

impl Forger {
    fn new(identity: &Identity) -> Self {
        let ours = Ed25519KeyPair::from_pkcs8(identity.keys.signing.as_bytes()).unwrap();
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let theirs = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        Self { ours, theirs, kid: identity.keys.kid().to_owned() }
    }

    fn header(&self) -> Value {
        json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": self.kid })
    }

    fn signed(key: &Ed25519KeyPair, header: &str, claims: &str) -> String {
        let message = message(header, claims);
        let signature = BASE64URL_NOPAD.encode(key.sign(message.as_bytes()).as_ref());
        format!("{message}.{signature}")
    }

    /// Signs with our own key: whatever else is wrong must be refused although the signature is right.
    fn ours(&self, header: &Value, claims: &Value) -> String {
        Self::signed(&self.ours, &header.to_string(), &claims.to_string())
    }

    fn theirs(&self, header: &Value) -> String {
        Self::signed(&self.theirs, &header.to_string(), &claims().to_string())
    }

    fn with_header(&self, name: &str, value: Value) -> String {
        self.ours(&with(self.header(), name, value), &claims())
    }

    fn with_claim(&self, name: &str, value: Value) -> String {
        self.ours(&self.header(), &with(claims(), name, value))
    }

    fn without_claim(&self, name: &str) -> String {
        self.ours(&self.header(), &without(claims(), name))
    }

    fn hs256(&self, secret: &[u8]) -> String {
        let message = message(&with(self.header(), "alg", json!("HS256")).to_string(), &claims().to_string());
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
        format!("{message}.{}", BASE64URL_NOPAD.encode(tag.as_ref()))
    }

    fn jwk_of_theirs(&self) -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "x": BASE64URL_NOPAD.encode(self.theirs.public_key().as_ref()) })
    }
}

fn message(header: &str, claims: &str) -> String {
    format!("{}.{}", BASE64URL_NOPAD.encode(header.as_bytes()), BASE64URL_NOPAD.encode(claims.as_bytes()))
}

fn claims() -> Value {
    json!({
        "iss": "https://souk.example", "aud": "souk", "sub": UserId(0x0e5).to_string(),
        "iat": START_SECONDS, "exp": START_SECONDS + 900, "jti": hex(1), "sid": hex(SESSION),
        "account": ACCOUNT.to_string(), "role": "customer", "epoch": 0,
    })
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

fn without(mut object: Value, name: &str) -> Value {
    object.as_object_mut().unwrap().remove(name);
    object
}

const BAD_CLAIM: TokenError = TokenError::BadClaim { name: "one of them" };

fn bad_claim(name: &'static str) -> TokenError {
    TokenError::BadClaim { name }
}

/// Wrong signatures and algorithms.
fn forged_signatures(world: &World, forger: &Forger) -> Vec<(String, String, TokenError)> {
    let valid = world.access_token(START);
    let (message_of_valid, _) = valid.rsplit_once('.').unwrap();
    let public = forger.ours.public_key().as_ref();
    let zeros = BASE64URL_NOPAD.encode(&[0; 64]);
    let unsigned = |alg: &str, signature: &str| {
        let header = with(forger.header(), "alg", json!(alg)).to_string();
        format!("{}.{signature}", message(&header, &claims().to_string()))
    };
    let resigned = |alg: &str| forger.with_header("alg", json!(alg));
    let jwk = world.identity.jwks()["keys"][0].to_string();
    let their_header = with(forger.header(), "jwk", forger.jwk_of_theirs());
    let (malformed, algorithm, signature) =
        (TokenError::Malformed, TokenError::WrongAlgorithm, TokenError::BadSignature);
    let rows = [
        ("alg none, no signature", unsigned("none", ""), &malformed),
        ("alg none, any signature", unsigned("none", &zeros), &malformed),
        ("alg nOnE", unsigned("nOnE", ""), &malformed),
        ("alg empty", unsigned("", ""), &malformed),
        ("alg none, signed by us", resigned("none"), &malformed),
        ("alg eddsa in lower case", resigned("eddsa"), &malformed),
        ("alg HS256, signed by us", resigned("HS256"), &algorithm),
        ("alg RS256, signed by us", resigned("RS256"), &algorithm),
        ("alg ES256, signed by us", resigned("ES256"), &algorithm),
        ("HS256 with the public key as secret", forger.hs256(public), &algorithm),
        ("HS256 with the public key's text", forger.hs256(BASE64URL_NOPAD.encode(public).as_bytes()), &algorithm),
        ("HS256 with the published key", forger.hs256(jwk.as_bytes()), &algorithm),
        ("HS256 with nothing", forger.hs256(b""), &algorithm),
        ("no signature", unsigned("EdDSA", ""), &signature),
        ("a signature of zeros", unsigned("EdDSA", &zeros), &signature),
        ("half a signature", valid[..valid.len() - 42].to_owned(), &signature),
        ("a padded signature", format!("{valid}=="), &malformed),
        ("another token's signature", format!("{message_of_valid}.{}", zeros), &signature),
        ("another key, our kid", forger.theirs(&forger.header()), &signature),
        ("another key inside, our kid", forger.theirs(&their_header), &signature),
        ("another key inside, no kid", forger.theirs(&without(their_header, "kid")), &TokenError::UnknownKey),
    ];
    rows.into_iter().map(|(name, token, error)| (name.to_owned(), token, error.clone())).collect()
}

/// Right signatures under wrong headers.
fn forged_headers(forger: &Forger) -> Vec<(String, String, TokenError)> {
    let twice = format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"{0}","kid":"{0}"}}"#, forger.kid);
    let raw = |header: &str| Forger::signed(&forger.ours, header, &claims().to_string());
    let deep = format!(r#"{{"alg":"EdDSA","x":{}{}}}"#, "[".repeat(150), "]".repeat(150));
    let crit = with(with(forger.header(), "crit", json!(["b64"])), "b64", json!(false));
    let mut rows = vec![
        ("typ missing".to_owned(), forger.ours(&without(forger.header(), "typ"), &claims()), TokenError::WrongType),
        ("kid missing".to_owned(), forger.ours(&without(forger.header(), "kid"), &claims()), TokenError::UnknownKey),
        ("crit".to_owned(), forger.ours(&crit, &claims()), TokenError::Malformed),
        ("kid twice".to_owned(), raw(&twice), TokenError::Malformed),
        ("no JSON".to_owned(), raw("EdDSA"), TokenError::Malformed),
        ("a list".to_owned(), raw(r#"["at+jwt","EdDSA"]"#), TokenError::Malformed),
        ("nested deeply".to_owned(), raw(&deep), TokenError::Malformed),
        (
            "jku".to_owned(),
            forger.theirs(&with(forger.header(), "jku", json!("https://evil"))),
            TokenError::BadSignature,
        ),
    ];
    for typ in ["JWT", "jwt", "", "at+jwt ", "refresh+jwt", "id+jwt", "application/json"] {
        rows.push((format!("typ {typ:?}"), forger.with_header("typ", json!(typ)), TokenError::WrongType));
    }
    let upper = forger.kid.to_uppercase();
    let with_end = format!("{}\0", forger.kid);
    let path = format!("./{}", forger.kid);
    for kid in ["", "../../../../dev/null", "/etc/passwd", "signing.key", "x' OR '1'='1", &upper, &with_end, &path] {
        rows.push((format!("kid {kid:?}"), forger.with_header("kid", json!(kid)), TokenError::UnknownKey));
    }
    for kid in [json!(1), json!(["a"]), json!({})] {
        rows.push((format!("kid {kid}"), forger.with_header("kid", kid), TokenError::Malformed));
    }
    rows
}

/// Right signatures over wrong claims.
fn forged_claims(forger: &Forger) -> Vec<(String, String, TokenError)> {
    let at = |seconds: u64| Timestamp(seconds * 1_000);
    let expired = |seconds| TokenError::Expired { expired_at: at(seconds) };
    let too_early = |seconds| TokenError::NotYetValid { valid_from: at(seconds) };
    let (issuer, audience) = (TokenError::WrongIssuer, TokenError::WrongAudience);
    let (now, soon) = (START_SECONDS, START_SECONDS + 900);
    let table = [
        ("iss", json!("https://evil.example"), issuer.clone()),
        ("iss", json!("https://souk.example/"), issuer.clone()),
        ("iss", json!("HTTPS://SOUK.EXAMPLE"), issuer),
        ("iss", json!(["https://souk.example"]), BAD_CLAIM),
        ("iss", json!(null), BAD_CLAIM),
        ("aud", json!("another"), audience.clone()),
        ("aud", json!("souk2"), audience.clone()),
        ("aud", json!(""), audience),
        ("aud", json!(["another", "souk"]), BAD_CLAIM),
        ("aud", json!(null), BAD_CLAIM),
        ("sub", json!(""), bad_claim("sub")),
        ("sub", json!("admin"), bad_claim("sub")),
        ("sub", json!(UserId(0xabc).to_string().to_uppercase()), bad_claim("sub")),
        ("sub", json!(5), BAD_CLAIM),
        ("sub", json!(null), BAD_CLAIM),
        ("exp", json!(now), expired(now)),
        ("exp", json!(now - 1), expired(now - 1)),
        ("exp", json!(0), expired(0)),
        ("exp", json!(soon.to_string()), BAD_CLAIM),
        ("exp", json!("never"), BAD_CLAIM),
        ("exp", json!(1_800_000_900.5), BAD_CLAIM),
        ("exp", json!(-1), BAD_CLAIM),
        ("exp", json!(1e300), BAD_CLAIM),
        ("exp", json!(null), BAD_CLAIM),
        ("exp", json!(true), BAD_CLAIM),
        ("exp", json!(u64::MAX), bad_claim("exp")),
        ("exp", json!(now + 3_601), bad_claim("exp")),
        ("iat", json!(now + 6), too_early(now + 6)),
        ("iat", json!(now - 10_000), bad_claim("exp")),
        ("iat", json!("now"), BAD_CLAIM),
        ("nbf", json!(now + 6), too_early(now + 6)),
        ("nbf", json!(u64::MAX), bad_claim("nbf")),
        ("nbf", json!("now"), BAD_CLAIM),
        ("role", json!("root"), BAD_CLAIM),
        ("role", json!("Admin"), BAD_CLAIM),
        ("role", json!(["admin"]), BAD_CLAIM),
        ("role", json!(2), BAD_CLAIM),
        ("epoch", json!(-1), BAD_CLAIM),
        ("epoch", json!(1_u64 << 32), BAD_CLAIM),
        ("epoch", json!("0"), BAD_CLAIM),
        ("account", json!("x"), bad_claim("account")),
        ("sid", json!("+0000000000000000000000000000001"), bad_claim("sid")),
    ];
    let mut rows: Vec<_> = table
        .into_iter()
        .map(|(name, value, error)| (format!("{name} {value}"), forger.with_claim(name, value), error))
        .collect();
    for name in ["iss", "aud", "sub", "iat", "exp", "jti", "sid", "account", "role", "epoch"] {
        rows.push((format!("{name} missing"), forger.without_claim(name), BAD_CLAIM));
    }
    let header = forger.header().to_string();
    let twice = claims().to_string().replacen('{', r#"{"role":"admin","#, 1);
    for (name, claims) in [("role twice", twice.as_str()), ("no JSON", "sub"), ("null", "null"), ("empty", "{}")] {
        rows.push((name.to_owned(), Forger::signed(&forger.ours, &header, claims), BAD_CLAIM));
    }
    rows
}

/// Texts that are not a token, or are one of another kind.
fn other_texts(world: &World, forger: &Forger) -> Vec<(String, String, TokenError)> {
    let valid = world.access_token(START);
    let elsewhere = World::new().access_token(START);
    let mut rows = vec![
        ("another shop's".to_owned(), elsewhere, TokenError::UnknownKey),
        ("too long".to_owned(), "a".repeat(1_025), TokenError::TooLong { bytes: 1_025, bytes_max: 1_024 }),
        ("cut".to_owned(), valid[..valid.len() - 2].to_owned(), TokenError::BadSignature),
        ("JWE".to_owned(), format!("{valid}.YQ.YQ"), TokenError::Malformed),
        ("newline".to_owned(), format!("{valid}\n"), TokenError::Malformed),
        ("refresh as access".to_owned(), world.refresh_token(), TokenError::Malformed),
    ];
    let padded = forger.with_claim("x", json!("a".repeat(600)));
    let bytes = padded.len();
    rows.push(("valid but too long".to_owned(), padded, TokenError::TooLong { bytes, bytes_max: 1_024 }));
    let (spaced, bearer) = (format!(" {valid}"), format!("Bearer {valid}"));
    for text in ["", ".", "..", "...", "a.b.c", "é.é.é", "\0.\0.\0", "\u{fffd}\u{fffd}", "e30.e30.", &spaced, &bearer]
    {
        rows.push((format!("{text:?}"), text.to_owned(), TokenError::Malformed));
    }
    rows
}

#[test]
fn forged_tokens_are_refused_each_for_its_reason() {
    let world = World::new();
    let forger = Forger::new(&world.identity);
    let mut rows = forged_signatures(&world, &forger);
    rows.extend(forged_headers(&forger));
    rows.extend(forged_claims(&forger));
    rows.extend(other_texts(&world, &forger));
    assert_eq!(rows.len(), 121, "a row was lost");
    for (name, token, error) in &rows {
        for attempt in ["the first time", "again"] {
            assert_eq!(world.verify(token).as_ref(), Err(error), "{name}, {attempt}");
        }
        assert!(!format!("{error} {error:?}").contains("souk.example"), "an error repeats nothing of the token");
    }
    assert_eq!(world.identity.verified_count(), 0, "nothing refused is remembered");

    // Controls with nothing forged: they show that the cases are refused for their reason, not because the forger
    // cannot make a token.
    let controls = [
        ("unchanged", forger.ours(&forger.header(), &claims())),
        ("a claim more", forger.with_claim("extra", json!({ "any": ["thing"] }))),
        ("a header more", forger.with_header("extra", json!(1))),
        ("nbf now", forger.with_claim("nbf", json!(START_SECONDS))),
        ("issued by a clock slightly ahead", forger.with_claim("iat", json!(START_SECONDS + 5))),
        ("the longest life", forger.with_claim("exp", json!(START_SECONDS + 3_600))),
        ("by the shop itself", world.access_token(START)),
    ];
    for (name, token) in &controls {
        let principal = world.verify(token).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((principal.user, principal.account, principal.family), (UserId(0x0e5), ACCOUNT, SESSION));
        // The shop cannot know about revocations of a token that this run has not issued.
        let revocation =
            if name.starts_with("by the shop") { RevocationStatus::Good } else { RevocationStatus::Unknown };
        assert_eq!((principal.role, principal.epoch, principal.revocation), (Role::Customer, 0, revocation));
        assert_eq!(world.verify(token), Ok(principal), "{name}, remembered");
    }
    assert_eq!(world.identity.verified_count(), controls.len());
}
