//! Compiles the contract with its comments, for `docs`; the services have no use for them.

use std::{env, fs, path::PathBuf};

fn main() -> anyhow::Result<()> {
    let proto = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", proto.join("firstcome").display());
    let mut files = Vec::new();
    for noun in fs::read_dir(proto.join("firstcome"))? {
        for file in fs::read_dir(noun?.path().join("v1"))? {
            files.push(file?.path());
        }
    }
    files.sort();
    let mut compiler = protox::Compiler::new([&proto])?;
    compiler.include_imports(true).include_source_info(true).open_files(&files)?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("contract.bin"), compiler.encode_file_descriptor_set())?;
    Ok(())
}
