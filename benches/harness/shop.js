// k6: customers who search, view a product, buy and track, at a constant arrival rate (open model).
// It does not renew tokens, which live 15 minutes: a run must end before that, and fails when it does not.
//
// -e BASE=http://127.0.0.1:8080  -e TOKENS=tokens.jsonl (of `souk tokens`)  -e RATE=50 journeys/s  -e SECONDS=10

import http from 'k6/http';
import exec from 'k6/execution';
import { check, fail } from 'k6';
import { SharedArray } from 'k6/data';

const base = __ENV.BASE || 'http://127.0.0.1:8080';
const customers = new SharedArray('customers', () =>
  open(__ENV.TOKENS || 'tokens.jsonl').trim().split('\n').map((line) => JSON.parse(line)).filter((one) => one.role === 'customer'));
const address = { name: 'A Customer', line1: '1 Long Road', city: 'Pune', postal_code: '411001', country: 'IN' };
const words = ['wireless mouse', 'phone case', 'cotton shirt', 'usb cable', 'desk lamp', 'running shoes'];

// "Sold out" is an answer (409). Everything else beyond 2xx is a failure, also a 401 of an expired token.
http.setResponseCallback(http.expectedStatuses(200, 201, 204, 409));

// Started without this setting the shop limits what one address may send, and the run measures the limit.
const unlimited = 'the shop limits the requests of one client (429): for a load test start it with SOUK_LIMITS__RATES=off';

export const options = {
  scenarios: {
    shop: {
      executor: 'constant-arrival-rate',
      rate: Number(__ENV.RATE || 50),
      timeUnit: '1s',
      duration: `${__ENV.SECONDS || 10}s`,
      preAllocatedVUs: Math.min(100, customers.length),
      // Each customer does one thing at a time.
      maxVUs: customers.length,
    },
  },
  thresholds: { checks: ['rate==1'], http_req_failed: ['rate==0'], iterations: ['count>0'], dropped_iterations: ['count==0'] },
  summaryTrendStats: ['p(50)', 'p(90)', 'p(99)', 'p(99.9)', 'max'],
};

// Products that can be bought now.
export function setup() {
  const ends = Math.min(...customers.map((one) => Date.parse(one.access_expires_at)));
  const seconds = Number(__ENV.SECONDS || 10);
  if (ends < Date.now() + seconds * 1000) fail('the tokens expire before the end of the run: make new ones with souk tokens');
  const list = http.get(`${base}/products?limit=100`);
  if (list.status !== 200) fail(`${base}/products answered ${list.status}`);
  const pages = list.json('items').map((item) => http.get(`${base}/products/${item.id}`).json());
  const goods = pages.filter((page) => page.purchasable && page.quantity > 0).map((page) => page.id);
  if (goods.length === 0) fail('there is nothing to buy');
  return goods;
}

// By Zipf's law, nearly: the logarithm of the rank is evenly spread.
const popular = (goods) => goods[Math.floor(Math.exp(Math.random() * Math.log(goods.length + 1))) - 1];

export default function (goods) {
  const token = customers[(exec.vu.idInTest - 1) % customers.length].access_token;
  const as = (name) => ({ headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' }, tags: { name } });
  const product = popular(goods);
  const query = encodeURIComponent(words[Math.floor(Math.random() * words.length)]);
  const found = http.get(`${base}/products?q=${query}`, { tags: { name: 'search' } });
  if (found.status === 429) exec.test.abort(unlimited);
  check(found, { searched: (answer) => answer.status === 200 });
  const page = http.get(`${base}/products/${product}`, { tags: { name: 'page' } });
  check(page, { 'page shown': (answer) => answer.status === 200 });
  const cart = http.post(`${base}/cart/add_products`, JSON.stringify({ product_id: product, quantity: 1 }), as('add to cart'));
  if (!check(cart, { 'added to the cart, or sold out': (answer) => [200, 409].includes(answer.status) })) return;
  if (cart.status !== 200) return;
  const stated = JSON.stringify({ total_price: cart.json('total'), shipping_address: address });
  const order = http.post(`${base}/checkout`, stated, as('checkout'));
  if (!check(order, { 'ordered, or refused': (answer) => [201, 409].includes(answer.status) })) return;
  if (order.status !== 201) {
    for (const item of cart.json('items')) http.del(`${base}/cart/items/${item.product_id}`, null, as('empty cart'));
    return;
  }
  const id = order.json('order_id');
  const payment = JSON.stringify({ order_id: id, payment_method: 'tok_success' });
  const paid = http.post(`${base}/payment`, payment, as('payment'));
  check(paid, { paid: (answer) => answer.status === 200 });
  const tracked = http.get(`${base}/order_status=${id}`, as('track'));
  check(tracked, { 'the total is the same': (answer) => answer.json('total.amount') === order.json('total.amount') });
}
