package main

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	address "firstcome.example/buyer/gen/firstcome/address/v1"
	order "firstcome.example/buyer/gen/firstcome/order/v1"
	user "firstcome.example/buyer/gen/firstcome/user/v1"
)

// A session is a log-in: the key that is the same for its retries, and the token that it brought.
type session struct{ key, token string }

// buy may be done again, all of it: session, order and payment are then what they were.
func buy(shop *grpc.ClientConn, key string, mine *session) error {
	// One deadline for all three: what it cuts off is done again.
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if mine.token == "" {
		logIn := &user.LogInRequest{Email: setting("EMAIL"), Password: setting("PASSWORD"), IdempotencyKey: mine.key}
		loggedIn, err := user.NewAccountServiceClient(shop).LogIn(ctx, logIn)
		if err != nil {
			return err
		}
		mine.token = loggedIn.GetTokens().GetAccessToken()
	}
	asBuyer := metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+mine.token)
	orders := order.NewOrderServiceClient(shop)
	line := &order.NewOrderLine{ProductId: setting("PRODUCT"), SkuId: setting("SKU"), Quantity: 1}
	wish := &order.PlaceOrderRequest{IdempotencyKey: key, Lines: []*order.NewOrderLine{line}}
	placed, err := orders.PlaceOrder(asBuyer, wish)
	if err != nil {
		return err
	}
	fmt.Printf("placed: %s is number %d of its product\n", placed.Order.OrderId, placed.Order.Sequence)
	home := &address.Address{Recipient: "Kim Minji", Phone: "+821012345678", Line1: "12 Seongsui-ro",
		City: "Seoul", PostalCode: "04784", CountryCode: "KR"}
	payment := &order.PayOrderRequest{OrderId: placed.Order.OrderId, PaymentMethod: "pm_card_approve",
		Destination: &order.PayOrderRequest_Address{Address: home}}
	paid, err := orders.PayOrder(asBuyer, payment)
	if err == nil {
		fmt.Println("paid:", paid.Order.State)
	}
	return err
}
