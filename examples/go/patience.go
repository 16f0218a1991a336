package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// waitOut does what a refusal asks for: its reason says what, and RetryInfo for how long. It returns
// when it is time to try again, or with the refusal if no waiting changes it.
func waitOut(refused error, shop *grpc.ClientConn, token *string) error {
	info, retry := &errdetails.ErrorInfo{}, &errdetails.RetryInfo{}
	for _, detail := range status.Convert(refused).Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			info = detail
		case *errdetails.RetryInfo:
			retry = detail
		}
	}
	fmt.Println("refused:", info.Reason, status.Convert(refused).Message())
	holdsOpen, code := info.Metadata["holds_open"], status.Code(refused)
	switch {
	case info.Reason == "NOT_OPEN", info.Reason == "SOLD_OUT" && holdsOpen != "0":
		watch(shop)
	case info.Reason == "TOKEN_EXPIRED":
		*token = ""
	case retry.RetryDelay != nil:
		// Up to half as long again: those who were refused together do not come back together.
		time.Sleep(time.Duration(float64(retry.RetryDelay.AsDuration()) * (1 + rand.Float64()/2)))
	case code == codes.Unavailable, code == codes.DeadlineExceeded, code == codes.Internal, code == codes.Unknown:
		time.Sleep(time.Second) // Nobody knows what became of the call.
	default:
		return refused
	}
	return nil
}
