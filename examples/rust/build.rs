//! Generates the client from the contract; protox spares a protoc.

fn main() -> anyhow::Result<()> {
    const PROTO: &str = "../../proto";
    println!("cargo:rerun-if-changed={PROTO}/firstcome");
    let files = [
        "firstcome/inventory/v1/stock_service.proto",
        "firstcome/order/v1/order_service.proto",
        "firstcome/user/v1/account_service.proto",
    ];
    let descriptors = protox::compile(files, [PROTO])?;
    let client = tonic_prost_build::configure().build_server(false);
    // One file that has a module for each package: `firstcome::order::v1` and so on.
    client.include_file("contract.rs").compile_fds(descriptors)?;
    Ok(())
}
