//! Units that somebody wants: lines as they come in, their limits, their sum, and their faults. No
//! I/O.

use firstcome_proto::{Money, ProductId, Refusal, SkuId, order_v1};

/// Lines of one order: what one hold may carry.
pub const LINES_MAX: usize = 10;
/// Units of one line.
pub const QUANTITY_MAX: i32 = 1000;
/// Characters of a key: room for a UUID with a prefix.
pub const KEY_LENGTH_MAX: usize = 64;

/// Units of one SKU that somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The product.
    pub product: ProductId,
    /// The variant.
    pub sku: SkuId,
    /// 1 to 1 000.
    pub quantity: i32,
}

/// Reads lines, sorts them by product and SKU, and names every faulty field.
pub fn read_lines(lines: &[order_v1::NewOrderLine]) -> Result<Vec<Wanted>, Refusal> {
    if !(1..=LINES_MAX).contains(&lines.len()) {
        return Err(Refusal::invalid("lines", "want 1 to 10 lines"));
    }
    let mut faults = Faults::default();
    let mut wanted: Vec<Wanted> = Vec::with_capacity(lines.len());
    for (place, line) in lines.iter().enumerate() {
        match read_line(line, &wanted) {
            Ok(line) => wanted.push(line),
            // The name is made only for a fault: this is the path of every loser.
            Err(refusal) => faults.join(refusal.within(&format!("lines[{place}]"))),
        }
    }
    if !faults.is_empty() {
        return Err(faults.refusal());
    }
    wanted.sort_unstable_by_key(|line| (line.product, line.sku));
    Ok(wanted)
}

fn read_line(line: &order_v1::NewOrderLine, others: &[Wanted]) -> Result<Wanted, Refusal> {
    let product = ProductId::from_field("product_id", &line.product_id);
    let sku = SkuId::from_field("sku_id", &line.sku_id);
    let quantity = line.quantity;
    let is_new = !sku.as_ref().is_ok_and(|sku| others.iter().any(|other| other.sku == *sku));
    match (product, sku) {
        (Ok(product), Ok(sku)) if is_new && (1..=QUANTITY_MAX).contains(&quantity) => {
            Ok(Wanted { product, sku, quantity })
        }
        (product, sku) => {
            let mut faults = Faults::default();
            product.err().into_iter().for_each(|fault| faults.join(fault));
            if !(1..=QUANTITY_MAX).contains(&quantity) {
                faults.add("quantity", "want 1 to 1000");
            }
            sku.err().into_iter().for_each(|fault| faults.join(fault));
            if !is_new {
                faults.add("sku_id", "want each SKU once");
            }
            Err(faults.refusal())
        }
    }
}

/// The sum of so many units at these prices; `None` when there are none, on overflow, and when
/// their currencies differ.
pub fn sum(units: impl Iterator<Item = (Money, i32)>) -> Option<Money> {
    let mut sums = units.map(|(unit_price, quantity)| unit_price.times(quantity));
    let first = sums.next()??;
    sums.try_fold(first, |sum, line| sum.plus(line?))
}

/// Printable ASCII, space included.
pub fn printable(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// All faults of one request.
#[derive(Default)]
pub struct Faults(Option<Refusal>);

impl Faults {
    /// One more faulty field.
    pub fn add(&mut self, field: impl Into<String>, description: &str) {
        self.join(Refusal::invalid(field, description));
    }

    /// All that this refusal names.
    pub fn join(&mut self, refusal: Refusal) {
        match &mut self.0 {
            Some(first) => first.violations.extend(refusal.violations),
            none => *none = Some(refusal),
        }
    }

    /// True when nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The refusal that names them; there must be one.
    pub fn refusal(self) -> Refusal {
        self.0.expect("only what has a fault is refused")
    }
}
