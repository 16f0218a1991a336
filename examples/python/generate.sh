#!/bin/sh
# Generates the client from the contract, beside buyer.py: folders are packages, as in firstcome.order.v1.
set -eu
cd "$(dirname "$0")"
exec "${PYTHON:-python3}" -m grpc_tools.protoc --proto_path ../../proto \
  --python_out . --grpc_python_out . ../../proto/firstcome/*/v1/*.proto
