//! The one public port of the mesh: it turns strangers' calls into calls of known people to the
//! services that own the answer.
//!
//! A call passes [`door`] (which dialect), the layers that [`stack`] lists, and [`dispatch`], where
//! its way parts: forwarded as bytes ([`forward`]), gathered with others ([`place`]), fed from a
//! stream that many share ([`watch`]), put together from what several services say ([`my_page`]),
//! or, in development, told from what was counted here ([`rush`]). Providers' webhooks have a way
//! of their own ([`webhook`]).
//!
//! It owns no data and holds no rule of the business: what a request means is the services' word.

pub mod app;
pub mod config;
pub mod listen;

pub mod door;
pub mod stack;

pub mod call;
pub mod layer;

pub mod dispatch;
pub mod forward;
pub mod living;
pub mod my_page;
pub mod place;
pub mod rush;
pub mod watch;
pub mod webhook;

pub mod address;
pub mod limiter;
pub mod metrics;
pub mod pages;
pub mod reflection;
pub mod route;
pub mod tally;
pub mod token;
pub mod wire;

pub use app::App;
pub use config::Config;
