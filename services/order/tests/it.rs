//! The real service on a real Postgres, between scripted stand-ins for inventory, payment and user
//! that keep their contracts and fail as they are told.

#[cfg(test)]
mod it {
    mod app;
    mod peers;

    mod addresses;
    mod attempts;
    mod baskets;
    mod failpoints;
    mod intake;
    mod life;
    mod outage;
    mod outbox;
    mod reads;
    mod resume;
    mod saga;
    mod waiting;
}
