//! `docs`: writes docs/api.md, which is nothing but the contract, laid out for people.
//! What is wrong in it is mended in `proto/`.

mod contract;
mod page;
mod reasons;

use std::fs;

use anyhow::{Context as _, Result, bail};
use firstcome_local::Checkout;

use contract::Contract;

/// Where it is, from the root of the checkout.
const PAGE: &str = "docs/api.md";

/// Whether to write.
#[derive(Clone, Debug, clap::Args)]
pub struct DocsArgs {
    /// Write nothing; fail when the page is not what the contract says
    #[arg(long)]
    pub check: bool,
}

/// Writes the page, or looks whether it is as it would be written.
pub fn docs(checkout: &Checkout, args: &DocsArgs) -> Result<()> {
    let page = page::write(&Contract::read())?;
    let path = checkout.root().join(PAGE);
    if args.check {
        if fs::read_to_string(&path).ok().as_ref() != Some(&page) {
            bail!("{PAGE} is not what proto/ says: run `cargo xtask docs`, and commit it");
        }
        return Ok(());
    }
    fs::create_dir_all(path.parent().expect("the page lies in a folder"))?;
    fs::write(&path, page).with_context(|| format!("write {PAGE}"))?;
    eprintln!("{PAGE} is written");
    Ok(())
}
