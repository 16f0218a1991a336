//! What the check must find: each test breaks a rendered copy, as somebody's edit would.

#[cfg(test)]
mod it {
    mod copies;

    mod certificates;
    mod composed;
    mod rendered;
}
