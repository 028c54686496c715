"""Locust: shoppers who mostly browse, and sometimes buy. TOKENS names a file of `souk tokens`.

It does not renew tokens, which live 15 minutes: a run must end before that.
The exit status is 1 where a request failed or none was made; "sold out" (409) is an answer, any other 4xx a failure.
"""

import itertools
import json
import os
import random

from locust import FastHttpUser, between, events, task

ADDRESS = {"name": "A Customer", "line1": "1 Long Road", "city": "Pune", "postal_code": "411001", "country": "IN"}
# Started without this setting the shop limits what one address may send, and the run measures the limit.
UNLIMITED = "the shop limits the requests of one client (429): for a load test start it with SOUK_LIMITS__RATES=off"
WORDS = ["wireless mouse", "phone case", "cotton shirt", "usb cable", "desk lamp", "running shoes"]

tokens = itertools.cycle([])


@events.test_start.add_listener
def read_tokens(environment, **_):
    """Each user gets a customer; with more users than customers some share a cart, and 409 is then a frequent answer."""
    global tokens
    with open(os.environ.get("TOKENS", "tokens.jsonl"), encoding="utf-8") as lines:
        sessions = [json.loads(line) for line in lines]
    tokens = itertools.cycle([one["access_token"] for one in sessions if one["role"] == "customer"])


@events.quitting.add_listener
def fail_where_requests_failed(environment, **_):
    total = environment.stats.total
    if total.num_requests == 0 or total.num_failures > 0:
        environment.process_exit_code = 1


class Shopper(FastHttpUser):
    wait_time = between(0.05, 0.2)
    products = []

    def on_start(self):
        self.headers = {"authorization": f"Bearer {next(tokens)}"}
        if not Shopper.products:
            listed = self.client.get("/products?limit=100", name="list").json()["items"]
            pages = [self.client.get(f"/products/{item['id']}", name="list").json() for item in listed]
            # Parents of variants cannot be bought; what is sold out meanwhile answers 409.
            Shopper.products = [page["id"] for page in pages if page["purchasable"] and page["quantity"] > 0]

    def popular(self):
        """By Zipf's law, nearly: the logarithm of the rank is evenly spread."""
        return self.products[int((len(self.products) + 1) ** random.random()) - 1]

    def send(self, method, path, name, body=None):
        """Sends a request. A 409 is an answer: "sold out" is not a failure of the shop."""
        with self.client.request(method, path, name=name, json=body, headers=self.headers, catch_response=True) as answer:
            if answer.status_code == 409:
                answer.success()
            if answer.status_code == 429:
                answer.failure(UNLIMITED)
            return answer

    @task(6)
    def page(self):
        self.send("GET", f"/products/{self.popular()}", "page")

    @task(3)
    def search(self):
        self.send("GET", f"/products?q={random.choice(WORDS).replace(' ', '%20')}", "search")

    @task(1)
    def buy(self):
        body = {"product_id": self.popular(), "quantity": 1}
        cart = self.send("POST", "/cart/add_products", "add to cart", body)
        if cart.status_code != 200:
            return
        order = self.send("POST", "/checkout", "checkout", {"total_price": cart.json()["total"], "shipping_address": ADDRESS})
        if order.status_code != 201:
            for item in cart.json()["items"]:
                self.send("DELETE", f"/cart/items/{item['product_id']}", "empty cart")
            return
        order_id = order.json()["order_id"]
        self.send("POST", "/payment", "payment", {"order_id": order_id, "payment_method": "tok_success"})
        self.send("GET", f"/order_status={order_id}", "track")
