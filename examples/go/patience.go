package main

import (
	crypto "crypto/rand"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Tries in a row that brought nothing but waiting, about two minutes in all.
const triesMax = 12

// waitOut does what a refusal asks for: its reason says what, and RetryInfo for how long. It returns
// when it is time to try again, or with the refusal if no waiting changes it.
func waitOut(refused error, shop *grpc.ClientConn, mine *session, tries *int) error {
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
	mayComeBack := info.Reason == "SOLD_OUT" && info.Metadata["holds_open"] != "0"
	if mayComeBack { // The stream's first news may be as old as the refusal: a second.
		time.Sleep(rand.N(time.Second))
	}
	if (mayComeBack || info.Reason == "NOT_OPEN") && watch(shop) == nil {
		*tries = 0
		return nil
	}
	*tries++
	code, ended := status.Code(refused), []string{"TOKEN_EXPIRED", "TOKEN_REVOKED", "TOKEN_INVALID"}
	switch unknown := []codes.Code{codes.Unavailable, codes.DeadlineExceeded, codes.Internal, codes.Unknown}; {
	case *tries > triesMax:
		return refused
	case slices.Contains(ended, info.Reason):
		*mine = session{key: crypto.Text()}
	case retry.RetryDelay != nil, mayComeBack, info.Reason == "NOT_OPEN", slices.Contains(unknown, code):
		asked := time.Second
		if retry.RetryDelay != nil {
			asked = retry.RetryDelay.AsDuration()
		}
		wait := max(asked, min(50*time.Millisecond<<*tries, 30*time.Second))
		// By chance: those who were refused together do not come back together.
		time.Sleep(wait + rand.N(wait/2+1))
	default:
		return refused
	}
	return nil
}
