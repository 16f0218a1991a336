"""Buys one unit: logs in, places an order and pays, again under the same key until it is told."""
import os
import uuid

import grpc
from firstcome.address.v1.address_pb2 import Address
from firstcome.inventory.v1 import stock_service_pb2 as inventory, stock_service_pb2_grpc
from firstcome.order.v1 import order_service_pb2 as order, order_service_pb2_grpc
from firstcome.user.v1 import account_service_pb2 as user, account_service_pb2_grpc
from patience import Next, after

EDGE, EMAIL, PASSWORD, PRODUCT, SKU = (
    os.environ[f"FIRSTCOME_{name}"] for name in ("EDGE", "EMAIL", "PASSWORD", "PRODUCT", "SKU")
)
KEY = os.environ.get("FIRSTCOME_KEY") or str(uuid.uuid4())
SHOP = grpc.insecure_channel(EDGE.removeprefix("http://"))
session = {}


def buy():
    """All of it may be done again: session, order and payment are then what they were."""
    if not session:
        log_in = user.LogInRequest(email=EMAIL, password=PASSWORD, idempotency_key=KEY)
        tokens = account_service_pb2_grpc.AccountServiceStub(SHOP).LogIn(log_in, timeout=20).tokens
        session["metadata"] = [("authorization", f"Bearer {tokens.access_token}")]
    orders = order_service_pb2_grpc.OrderServiceStub(SHOP)
    line = order.NewOrderLine(product_id=PRODUCT, sku_id=SKU, quantity=1)
    wish = order.PlaceOrderRequest(idempotency_key=KEY, lines=[line])
    placed = orders.PlaceOrder(wish, timeout=20, **session).order
    print(f"placed: {placed.order_id} is number {placed.sequence} of its product", flush=True)
    address = Address(recipient="Kim Minji", phone="+821012345678", line1="12 Seongsui-ro",
                      city="Seoul", postal_code="04784", country_code="KR")
    payment = order.PayOrderRequest(order_id=placed.order_id, address=address,
                                    payment_method="pm_card_approve")
    paid = orders.PayOrder(payment, timeout=20, **session).order
    print("paid:", order.OrderState.Name(paid.state))


def watch():
    """Until a unit can be had, or none can come back."""
    stub = stock_service_pb2_grpc.StockServiceStub(SHOP)
    for change in stub.WatchStock(inventory.WatchStockRequest(product_id=PRODUCT)):
        sku = next(sku for sku in change.stock.skus if sku.sku_id == SKU)
        is_open = change.stock.state != inventory.SALE_STATE_NOT_OPEN
        if is_open and (sku.available > 0 or sku.holds_open == 0):
            return


print(f"FIRSTCOME_KEY={KEY}", flush=True)  # Cut off? Start again with it: it finds the same order.
step = Next.TRY_AGAIN
while step:
    try:
        if step is Next.WATCH:
            watch()
        buy()
        step = None
    except grpc.RpcError as refused:
        step = after(refused)
        if step is Next.LOG_IN:
            session.clear()
