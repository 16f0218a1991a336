//! What somebody who looks on sees, on stderr: steps, and then three bars.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use firstcome_local::Address;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{RushArgs, rush_view, stampede::Stampede};

/// How often the bars move.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);

/// Steps and bars of one rush.
pub struct Progress {
    bars: MultiProgress,
    step: ProgressBar,
    admitted: ProgressBar,
    paid: ProgressBar,
    refused: ProgressBar,
}

impl Progress {
    /// Says what is about to happen, and where it can be watched: before the buyers are gathered,
    /// which leaves time to open a page.
    pub fn start(mesh: &Address, args: &RushArgs, run: &str) -> Self {
        eprintln!("rush {run}: {} buyers, {} units", args.buyers, args.stock);
        eprintln!("  watch it in a browser: {}", rush_view(mesh));
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let bar = |name: &'static str, length: u32| {
            let style =
                ProgressStyle::with_template("  {prefix:<10} {bar:40.cyan/dim} {pos:>8} {msg}")
                    .expect("the template is in order");
            ProgressBar::new(length.into()).with_prefix(name).with_style(style)
        };
        let step = ProgressStyle::with_template("{spinner} {msg}").expect("a template in order");
        Self {
            bars,
            step: ProgressBar::no_length().with_style(step),
            admitted: bar("admitted", args.stock),
            paid: bar("paid", args.stock),
            refused: bar("refused", args.buyers.saturating_sub(args.stock).max(1)),
        }
    }

    /// Names the step that begins.
    pub fn says(&self, step: &'static str) {
        self.bars.suspend(|| eprintln!("  {step}"));
    }

    /// Shows the bars, which follow the counters from now on.
    pub fn watch(&self, stampede: &Arc<Stampede>) {
        let bars = [&self.admitted, &self.paid, &self.refused, &self.step];
        for bar in bars {
            self.bars.add(bar.clone());
        }
        let stampede: Weak<Stampede> = Arc::downgrade(stampede);
        let [admitted, paid, refused, step] = bars.map(ProgressBar::clone);
        tokio::spawn(async move {
            let mut redraw = tokio::time::interval(REDRAW_INTERVAL);
            loop {
                redraw.tick().await;
                let Some(stampede) = stampede.upgrade() else { return };
                if step.is_finished() {
                    return;
                }
                let tally = &stampede.tally;
                admitted.set_position(tally.admitted());
                paid.set_position(tally.paid());
                refused.set_position(tally.refusals_total());
                step.set_message(format!(
                    "{} watch the stock, {} walked away, {} declined",
                    stampede.watch.waiting(),
                    tally.abandoned(),
                    tally.declined(),
                ));
            }
        });
    }

    /// Clears the bars: the report follows.
    pub fn finish(&self) {
        for bar in [&self.admitted, &self.paid, &self.refused, &self.step] {
            bar.finish_and_clear();
        }
    }
}
