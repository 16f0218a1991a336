#!/bin/sh
# Sells one pair through the edge, as an operator and a buyer would: makes a product, opens its
# drop, buys it, pays with a test card, and looks whether the order is paid. For a shop whose
# provider is the sandbox, and for no other: the product that it makes is one that everybody sees,
# and a real provider knows no test card. It wants grpcurl.
#
#   deploy/buy.sh [HOST:PORT]       127.0.0.1:8080 unless given
#
# ADMIN_EMAIL and ADMIN_PASSWORD are an operator's, BUYER_EMAIL and BUYER_PASSWORD those of a
# verified buyer.
set -eu

edge=${1:-127.0.0.1:8080}
grpcurl=${GRPCURL:-grpcurl}
# The same in both names and keys: another run is another product.
run=$(date +%s)-$$

call() { # method, body, token
    token=${3:-}
    "$grpcurl" -plaintext ${token:+-H "authorization: Bearer $token"} -d "$2" "$edge" "firstcome.$1"
}

field() { # the first of this name
    sed -n "s/.*\"$1\": \"\([^\"]*\)\".*/\1/p" | head -n 1
}

log_in() { # email, password
    call user.v1.AccountService/LogIn "{\"email\": \"$1\", \"password\": \"$2\",
        \"idempotencyKey\": \"log-in-$run\"}" | field accessToken
}

admin=$(log_in "$ADMIN_EMAIL" "$ADMIN_PASSWORD")
buyer=$(log_in "$BUYER_EMAIL" "$BUYER_PASSWORD")

made=$(call inventory.v1.CatalogService/CreateProduct "{
    \"idempotencyKey\": \"product-$run\", \"name\": \"First Pair $run\",
    \"skus\": [{\"label\": \"265 mm\", \"total\": 1,
        \"price\": {\"currencyCode\": \"KRW\", \"amountMinor\": \"189000\"}}]}" "$admin")
product=$(echo "$made" | field productId)
sku=$(echo "$made" | field skuId)
call inventory.v1.CatalogService/ScheduleDrop "{\"productId\": \"$product\",
    \"drop\": {\"opensAt\": \"2020-01-01T00:00:00Z\", \"limitPerBuyer\": 1}}" "$admin" >/dev/null

# The gate of a new drop opens within moments; the same key gives the same order.
tries=20
until placed=$(call order.v1.OrderService/PlaceOrder "{\"idempotencyKey\": \"pair-$run\",
    \"lines\": [{\"productId\": \"$product\", \"skuId\": \"$sku\", \"quantity\": 1}]}" "$buyer"); do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || exit 1
    sleep 1
done
order=$(echo "$placed" | field orderId)

call order.v1.OrderService/PayOrder "{\"orderId\": \"$order\",
    \"paymentMethod\": \"pm_card_approve\", \"address\": {\"recipient\": \"A buyer\",
        \"phone\": \"+821012345678\", \"line1\": \"12 Seongsui-ro\", \"city\": \"Seoul\",
        \"postalCode\": \"04784\", \"countryCode\": \"KR\"}}" "$buyer" >/dev/null
state=$(call order.v1.OrderService/GetOrder "{\"orderId\": \"$order\"}" "$buyer" | field state)
if [ "$state" != ORDER_STATE_PREPARING ]; then
    echo "order $order is $state" >&2
    exit 1
fi
echo "bought: order $order is paid, and is being prepared"
