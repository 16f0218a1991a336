// Buys one unit: logs in, places an order and pays, again under the same key until it is told.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	inventory "firstcome.example/buyer/gen/firstcome/inventory/v1"
)

func main() {
	key := cmp.Or(setting("KEY"), rand.Text())
	fmt.Printf("FIRSTCOME_KEY=%s\n", key) // Cut off? Start again with it: it finds the same order.
	edge := strings.TrimPrefix(setting("EDGE"), "http://")
	// The pings notice when a stream's connection has died without a word.
	pings := grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second})
	shop, err := grpc.NewClient(edge, grpc.WithTransportCredentials(insecure.NewCredentials()), pings)
	mine, tries := session{key: rand.Text()}, 0
	for err == nil {
		refused := buy(shop, key, &mine)
		if refused == nil {
			return
		}
		err = waitOut(refused, shop, &mine, &tries)
	}
	log.Fatal(err)
}

// watch returns when a unit can be had or none can come back, or why the stream broke.
func watch(shop *grpc.ClientConn) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	watched := &inventory.WatchStockRequest{ProductId: setting("PRODUCT")}
	changes, err := inventory.NewStockServiceClient(shop).WatchStock(ctx, watched)
	for err == nil {
		var change *inventory.WatchStockResponse
		change, err = changes.Recv()
		for _, sku := range change.GetStock().GetSkus() {
			state, mayComeBack := change.Stock.State, sku.Available == 0 && sku.HoldsOpen > 0
			waits := state == inventory.SaleState_SALE_STATE_OPEN && mayComeBack
			if sku.SkuId == setting("SKU") && state != inventory.SaleState_SALE_STATE_NOT_OPEN && !waits {
				return nil
			}
		}
	}
	return err
}

func setting(name string) string { return os.Getenv("FIRSTCOME_" + name) }
