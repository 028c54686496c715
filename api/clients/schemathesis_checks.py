"""A check of schemathesis: the shop refuses a request that the document allows only where no schema could say why.

It is in the place of `positive_data_acceptance`, which knows statuses alone.
"""

import schemathesis

# What is refused because of what the shop holds, or of who asks, has a status of its own.
STATUSES = {401, 403, 404, 409, 412, 428}
# The codes of problems whose reason is no form of the request, and the reason.
CODES = {
    "amount-not-payable": "prices of the cart",
    "choose-variant": "products of the shop",
    "empty-cart": "the cart",
    "idempotency-key-reused": "made-up keys repeat themselves",
    "invalid-cursor": "only the shop makes cursors",
    "invalid-notice": "notices are signed with a secret",
    "mixed-currencies": "products of the shop",
    "not-for-sale": "products of the shop",
    "payment-declined": "the payment provider",
}
# The fields whose rule is no schema: it depends on another field, on the payment provider, or counts bytes.
POINTERS = {
    "#/shipping_address/postal_code": "each country has its own form",
    "#/payment_method": "the payment provider has its own names",
    "#/images": "where both are given, the addresses of pictures",
}
# The same for queries, whose problems say it in words.
DETAILS = {"number goes with no other parameter"}


@schemathesis.check
def takes_what_the_document_allows(ctx, response, case):
    meta = case.meta
    if meta is None or not meta.generation.mode.is_positive or response.status_code in STATUSES:
        return
    if not 400 <= response.status_code < 500:
        return
    problem = response.json()
    pointers = [fault["pointer"] for fault in problem.get("errors", [])]
    is_right = (
        problem["code"] in CODES
        or problem["detail"] in DETAILS
        or bool(pointers) and all(pointer in POINTERS for pointer in pointers)
    )
    if not is_right:
        raise AssertionError(f"the document allows what the shop refuses: {problem['code']}: {problem['detail']}")
