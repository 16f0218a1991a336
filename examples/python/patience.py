"""What to do about a refusal: its reason says so, and RetryInfo for how long to wait."""

import enum
import random
import time

import grpc
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_status import rpc_status

# Nobody knows what became of the call: it is asked again, with the same key.
UNKNOWN = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
}

TOKEN_ENDED = {"TOKEN_EXPIRED", "TOKEN_REVOKED", "TOKEN_INVALID"}
# Tries in a row that brought nothing but waiting, about two minutes in all.
TRIES_MAX = 12

Next = enum.Enum("Next", ["TRY_AGAIN", "LOG_IN", "WATCH"])


def after(refused: grpc.RpcError, tries: int) -> Next:
    """Waits as long as it takes and says what comes next; raises what no waiting changes."""
    info, retry = ErrorInfo(), RetryInfo()
    status = rpc_status.from_call(refused)
    for detail in status.details if status else ():
        detail.Unpack(info) or detail.Unpack(retry)  # Each takes what is of its own type.
    print(f"refused: {info.reason} {refused.details()}", flush=True)
    if info.reason == "NOT_OPEN":
        return Next.WATCH
    if info.reason == "SOLD_OUT" and info.metadata["holds_open"] != "0":
        # Who holds them has not paid yet. The stream's first news may be a second old.
        time.sleep(random.random())
        return Next.WATCH
    if tries > TRIES_MAX:
        raise refused
    if info.reason in TOKEN_ENDED:
        return Next.LOG_IN
    if not retry.HasField("retry_delay") and refused.code() not in UNKNOWN:
        raise refused
    # As long as the shop says or longer from try to try, and up to half as long again by chance:
    # those who were refused together do not come back together.
    asked = retry.retry_delay.ToTimedelta().total_seconds() or 1
    time.sleep(max(asked, min(0.05 * 2**tries, 30)) * random.uniform(1, 1.5))
    return Next.TRY_AGAIN
