//! Puts the storefront's bundle (`web/dist`, committed, so that no Node is needed) into the program,
//! each part also compressed: the same bytes would be compressed for each visitor otherwise.

use std::{
    env,
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use flate2::{Compression, write::GzEncoder};

fn main() -> anyhow::Result<()> {
    let dist = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("web/dist");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo:rerun-if-changed={}", dist.display());

    let mut parts = vec![part(&dist.join("index.html"), &out, "index.html")?];
    let assets = dist.join("assets");
    let mut names = Vec::new();
    for file in fs::read_dir(&assets).with_context(|| format!("read {}", assets.display()))? {
        names.push(file?.file_name().into_string().ok().context("a name in UTF-8")?);
    }
    names.sort();
    for name in names {
        parts.push(part(&assets.join(&name), &out, &format!("assets/{name}"))?);
    }

    let count = parts.len();
    let mut table = format!("static BUNDLE: [Part; {count}] = [\n");
    for part in parts {
        writeln!(table, "{part},")?;
    }
    table.push_str("];\n");
    fs::write(out.join("bundle.rs"), table)?;
    Ok(())
}

/// The line of one file in the table.
fn part(file: &Path, out: &Path, path: &str) -> anyhow::Result<String> {
    let media_type = match file.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => bail!("{}: what is its media type? say it in build.rs", file.display()),
    };
    let bytes = fs::read(file).with_context(|| format!("read {}", file.display()))?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&bytes)?;
    let gzip = out.join(format!("{}.gz", path.replace('/', "-")));
    fs::write(&gzip, encoder.finish()?)?;
    Ok(format!(
        "Part {{ path: {path:?}, media_type: {media_type:?}, bytes: include_bytes!({file:?}), \
         gzip: include_bytes!({gzip:?}) }}"
    ))
}
