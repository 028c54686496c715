// Places an order with the client that @hey-api/openapi-ts makes.
import { client } from "./generated/hey-api/client.gen";
import { addToCart, checkout, login, pay, searchProducts, showOrderStatus, showProduct } from "./generated/hey-api/sdk.gen";
import type { OrderStatus } from "./generated/hey-api/types.gen";

const baseUrl = process.env["SHOP"];
if (!baseUrl) throw new Error("SHOP must be the address of a demo shop");
client.setConfig({ baseUrl });
const throwOnError = true as const;

const { data: tokens } = await login({
  body: { email: "customer@demo.example", password: "souk-demo-password" },
  throwOnError,
});
client.setConfig({ baseUrl, auth: () => tokens.access_token });

const { data: found } = await searchProducts({ path: { keywords: "wireless mouse" }, query: { limit: 5 }, throwOnError });
if (found.items.length === 0) throw new Error("the search route found nothing");
await searchProducts({ path: { keywords: "a/b" }, throwOnError });

let product: string | undefined;
for (const hit of found.items) {
  const { data: page } = await showProduct({ path: { product_id: hit.id }, throwOnError });
  if (page.quantity > 0 && page.purchasable) product ??= page.id;
}
if (product === undefined) throw new Error("nothing is in stock");

const headers = (what: string) => ({ "Idempotency-Key": `hey-api-${what}-${process.pid}-${Date.now()}` });
const addition = { items: [{ product_id: product, quantity: 1 }] };
const { data: cart } = await addToCart({ body: addition, headers: headers("add"), throwOnError });
if (!cart.total) throw new Error("the cart has no total");
const shipping_address = { name: "Asha Rao", line1: "1 MG Road", city: "Pune", postal_code: "411001", country: "IN" } as const;
const refused = await checkout({ body: { total_price: 1, shipping_address } });
if (refused.error?.code !== "total-mismatch") throw new Error("another total is refused");
console.log(`it costs ${refused.error.computed_total.amount}`);
const { data: order } = await checkout({
  body: { total_price: cart.total, shipping_address },
  headers: headers("checkout"),
  throwOnError,
});
const { data: paid } = await pay({
  body: { order_id: order.order_id, payment_method: "tok_success" },
  headers: headers("payment"),
  throwOnError,
});
if (paid.status !== "success") throw new Error(paid.status);
const { data: shown } = await showOrderStatus({ path: { order_id: order.order_id }, throwOnError });
const expected: OrderStatus[] = ["paid", "confirmed"];
if (!expected.includes(shown.status)) throw new Error(shown.status);
console.log(`hey-api: order ${shown.number} is ${shown.status}`);
