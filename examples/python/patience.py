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

Next = enum.Enum("Next", ["TRY_AGAIN", "LOG_IN", "WATCH"])


def after(refused: grpc.RpcError) -> Next:
    """Waits as long as it takes and says what comes next; raises what no waiting changes."""
    info, retry = ErrorInfo(), RetryInfo()
    status = rpc_status.from_call(refused)
    for detail in status.details if status else ():
        detail.Unpack(info) or detail.Unpack(retry)  # Each takes what is of its own type.
    print(f"refused: {info.reason} {refused.details()}", flush=True)
    if info.reason == "TOKEN_EXPIRED":
        return Next.LOG_IN
    if info.reason == "NOT_OPEN":
        return Next.WATCH
    if info.reason == "SOLD_OUT" and info.metadata["holds_open"] != "0":
        return Next.WATCH  # Who holds them has not paid yet.
    if retry.HasField("retry_delay"):
        # Up to half as long again: those who were refused together do not come back together.
        time.sleep(retry.retry_delay.ToTimedelta().total_seconds() * random.uniform(1, 1.5))
    elif refused.code() in UNKNOWN:
        time.sleep(1)
    else:
        raise refused
    return Next.TRY_AGAIN
