"""Locust: shoppers who mostly look, and sometimes buy. TOKENS names a file of `souk tokens`."""

import itertools
import json
import os
import random

from locust import FastHttpUser, between, events, task

ADDRESS = {"name": "A Customer", "line1": "1 Long Road", "city": "Pune", "postal_code": "411001", "country": "IN"}
WORDS = ["wireless mouse", "phone case", "cotton shirt", "usb cable", "desk lamp", "running shoes"]

tokens = itertools.cycle([])


@events.test_start.add_listener
def read_tokens(environment, **_):
    """Each user gets a customer; with more users than customers some share a cart, and 409 is then a frequent answer."""
    global tokens
    with open(os.environ.get("TOKENS", "tokens.jsonl"), encoding="utf-8") as lines:
        sessions = [json.loads(line) for line in lines]
    tokens = itertools.cycle([one["access_token"] for one in sessions if one["role"] == "customer"])


class Shopper(FastHttpUser):
    wait_time = between(0.05, 0.2)

    def on_start(self):
        self.headers = {"authorization": f"Bearer {next(tokens)}"}
        listed = self.client.get("/products?limit=100", name="list").json()["items"]
        self.goods = [item["id"] for item in listed if item["price"]]

    def popular(self):
        """By Zipf's law, nearly: the logarithm of the rank is evenly spread."""
        return self.goods[int((len(self.goods) + 1) ** random.random()) - 1]

    def ask(self, method, path, name, body=None):
        """A 4xx is an answer: "sold out" is not a failure of the shop."""
        with self.client.request(method, path, name=name, json=body, headers=self.headers, catch_response=True) as answer:
            if 400 <= answer.status_code < 500:
                answer.success()
            return answer

    @task(6)
    def page(self):
        self.ask("GET", f"/products/{self.popular()}", "page")

    @task(3)
    def search(self):
        self.ask("GET", f"/products?q={random.choice(WORDS).replace(' ', '%20')}", "search")

    @task(1)
    def buy(self):
        body = {"product_id": self.popular(), "quantity": 1}
        cart = self.ask("POST", "/cart/add_products", "add to cart", body)
        if cart.status_code != 200:
            return
        order = self.ask("POST", "/checkout", "checkout", {"total_price": cart.json()["total"], "shipping_address": ADDRESS})
        if order.status_code != 201:
            for item in cart.json()["items"]:
                self.ask("DELETE", f"/cart/items/{item['product_id']}", "empty cart")
            return
        order_id = order.json()["order_id"]
        self.ask("POST", "/payment", "payment", {"order_id": order_id, "payment_method": "tok_success"})
        self.ask("GET", f"/order_status={order_id}", "track")
