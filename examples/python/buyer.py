"""Buys one unit: logs in, places an order and pays, again under the same key until it is told."""
import os
import uuid

import grpc
from firstcome.address.v1.address_pb2 import Address
from firstcome.order.v1 import order_service_pb2 as order, order_service_pb2_grpc
from firstcome.user.v1 import account_service_pb2 as user, account_service_pb2_grpc
from patience import Next, after
from stock import watch

EDGE, EMAIL, PASSWORD, PRODUCT, SKU = (
    os.environ[f"FIRSTCOME_{name}"] for name in ("EDGE", "EMAIL", "PASSWORD", "PRODUCT", "SKU")
)
KEY = os.environ.get("FIRSTCOME_KEY") or str(uuid.uuid4())
# The pings notice when a stream's connection has died without a word.
PINGS = [("grpc.keepalive_time_ms", 20_000), ("grpc.http2.max_pings_without_data", 0)]
SHOP = grpc.insecure_channel(EDGE.removeprefix("http://"), options=PINGS)
session = {"key": str(uuid.uuid4()), "token": None}


def buy():
    """All of it may be done again: session, order and payment are then what they were."""
    if not session["token"]:
        log_in = user.LogInRequest(email=EMAIL, password=PASSWORD, idempotency_key=session["key"])
        tokens = account_service_pb2_grpc.AccountServiceStub(SHOP).LogIn(log_in, timeout=20).tokens
        session["token"] = tokens.access_token
    as_buyer = {"metadata": [("authorization", f"Bearer {session['token']}")], "timeout": 20}
    orders = order_service_pb2_grpc.OrderServiceStub(SHOP)
    line = order.NewOrderLine(product_id=PRODUCT, sku_id=SKU, quantity=1)
    wish = order.PlaceOrderRequest(idempotency_key=KEY, lines=[line])
    placed = orders.PlaceOrder(wish, **as_buyer).order
    print(f"placed: {placed.order_id} is number {placed.sequence} of its product", flush=True)
    address = Address(recipient="Kim Minji", phone="+821012345678", line1="12 Seongsui-ro",
                      city="Seoul", postal_code="04784", country_code="KR")
    payment = order.PayOrderRequest(order_id=placed.order_id, address=address,
                                    payment_method="pm_card_approve")
    paid = orders.PayOrder(payment, **as_buyer).order
    print("paid:", order.OrderState.Name(paid.state))


print(f"FIRSTCOME_KEY={KEY}", flush=True)  # Cut off? Start again with it: it finds the same order.
step, tries = Next.TRY_AGAIN, 0
while step:
    try:
        if step is Next.WATCH:
            watch(SHOP, PRODUCT, SKU)
            tries = 0
        buy()
        step = None
    except grpc.RpcError as refused:
        tries += 1
        step = after(refused, tries)
        if step is Next.LOG_IN:
            session = {"key": str(uuid.uuid4()), "token": None}
