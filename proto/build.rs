//! Compiles the contract with protox, so that no protoc is needed.

use std::{env, fs, path::PathBuf};

fn main() -> anyhow::Result<()> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    println!("cargo:rerun-if-changed={}", root.join("firstcome").display());

    let mut files = Vec::new();
    for noun in fs::read_dir(root.join("firstcome"))? {
        for file in fs::read_dir(noun?.path().join("v1"))? {
            files.push(file?.path());
        }
    }
    files.sort();

    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_imports(true).include_source_info(false).open_files(&files)?;
    // The encoded form keeps the access options, which a decoded FileDescriptorSet would drop.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;

    tonic_prost_build::configure().bytes(".").compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
