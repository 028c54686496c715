"""Places an order with the client that openapi-python-client makes."""

import os
import time

from souk_client import AuthenticatedClient, Client
from souk_client.api.accounts import login
from souk_client.api.browsing import search_products, show_product
from souk_client.api.cart import add_to_cart
from souk_client.api.orders import checkout, pay, show_order_status
from souk_client.models import (
    AddressBody,
    Addition,
    CartBody,
    Checkout,
    Country,
    Credentials,
    Item,
    Money,
    OrderBody,
    OrderStatus,
    PageHitBody,
    Payment,
    PaymentBody,
    PaymentStatus,
    ProductBody,
    Tokens,
    TotalMismatchProblem,
)


def key(what: str) -> str:
    return f"python-{what}-{os.getpid()}-{time.time_ns()}"


def main() -> None:
    base_url = os.environ["SHOP"]
    tokens = login.sync(
        client=Client(base_url=base_url),
        body=Credentials(email="customer@demo.example", password="souk-demo-password"),
    )
    assert isinstance(tokens, Tokens), tokens
    shop = AuthenticatedClient(base_url=base_url, token=tokens.access_token)

    found = search_products.sync("wireless mouse", client=shop, limit=5)
    assert isinstance(found, PageHitBody) and found.items, found
    slashed = search_products.sync_detailed("a/b", client=shop)
    assert slashed.status_code == 200, slashed

    product = None
    for hit in found.items:
        page = show_product.sync(hit.id, client=shop)
        assert isinstance(page, ProductBody), page
        if page.quantity > 0 and page.purchasable:
            product = product or page.id
    assert product is not None, "nothing is in stock"

    cart = add_to_cart.sync(
        client=shop,
        body=Addition(items=[Item(product_id=product, quantity=1)]),
        idempotency_key=key("add"),
    )
    assert isinstance(cart, CartBody) and isinstance(cart.total, Money), cart
    address = AddressBody(name="Asha Rao", line1="1 MG Road", city="Pune", postal_code="411001", country=Country.IN)
    refused = checkout.sync(client=shop, body=Checkout(total_price=1, shipping_address=address))
    assert isinstance(refused, TotalMismatchProblem), refused
    print(f"it costs {refused.computed_total.amount}")
    order = checkout.sync(
        client=shop,
        body=Checkout(total_price=cart.total, shipping_address=address),
        idempotency_key=key("checkout"),
    )
    assert isinstance(order, OrderBody), order
    paid = pay.sync(
        client=shop,
        body=Payment(order_id=order.order_id, payment_method="tok_success"),
        idempotency_key=key("payment"),
    )
    assert isinstance(paid, PaymentBody) and paid.status is PaymentStatus.SUCCESS, paid
    shown = show_order_status.sync(order.order_id, client=shop)
    assert isinstance(shown, OrderBody), shown
    assert shown.status in (OrderStatus.PAID, OrderStatus.CONFIRMED), shown.status
    print(f"python: order {shown.number} of {shown.placed_at:%d %B %Y} is {shown.status.value}")


if __name__ == "__main__":
    main()
