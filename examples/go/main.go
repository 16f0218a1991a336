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

	inventory "firstcome.example/buyer/gen/firstcome/inventory/v1"
)

func main() {
	key := cmp.Or(setting("KEY"), rand.Text())
	fmt.Printf("FIRSTCOME_KEY=%s\n", key) // Cut off? Start again with it: it finds the same order.
	edge := strings.TrimPrefix(setting("EDGE"), "http://")
	shop, err := grpc.NewClient(edge, grpc.WithTransportCredentials(insecure.NewCredentials()))
	token := ""
	for err == nil {
		refused := buy(shop, key, &token)
		if refused == nil {
			return
		}
		err = waitOut(refused, shop, &token)
	}
	log.Fatal(err)
}

// watch returns when a unit can be had, when none can come back, or when the stream breaks.
func watch(shop *grpc.ClientConn) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	watched := &inventory.WatchStockRequest{ProductId: setting("PRODUCT")}
	changes, err := inventory.NewStockServiceClient(shop).WatchStock(ctx, watched)
	for err == nil {
		var change *inventory.WatchStockResponse
		change, err = changes.Recv()
		for _, sku := range change.GetStock().GetSkus() {
			mayTry := sku.SkuId == setting("SKU") && (sku.Available > 0 || sku.HoldsOpen == 0)
			if mayTry && change.Stock.State != inventory.SaleState_SALE_STATE_NOT_OPEN {
				return
			}
		}
	}
	time.Sleep(time.Second)
}

func setting(name string) string { return os.Getenv("FIRSTCOME_" + name) }
