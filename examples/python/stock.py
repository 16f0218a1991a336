"""Waits for a unit, without polling."""
import grpc
from firstcome.inventory.v1 import stock_service_pb2 as inventory, stock_service_pb2_grpc


def watch(shop: grpc.Channel, product: str, wanted: str) -> None:
    """Until a unit can be had, or none can come back."""
    stub = stock_service_pb2_grpc.StockServiceStub(shop)
    changes = stub.WatchStock(inventory.WatchStockRequest(product_id=product))
    for stock in (change.stock for change in changes):
        sku = next((sku for sku in stock.skus if sku.sku_id == wanted), None)
        may_come_back = sku and sku.available == 0 and sku.holds_open > 0
        if stock.state == inventory.SALE_STATE_NOT_OPEN:
            continue
        if stock.state != inventory.SALE_STATE_OPEN or not may_come_back:
            break
    changes.cancel()
