//! A circuit breaker: after so many failures in a row nobody is sent to that Odoo for a while, then one request looks whether it is back.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::odoo::Health;

/// A pause that a server asked for is believed up to this, seconds.
const ASKED_S_MAX: u64 = 60;
/// How long others wait while one looks.
const WHILE_PROBING: Duration = Duration::from_secs(1);

/// When it opens (0 failures: never), and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct BreakerSettings {
    pub(super) failures_max: u32,
    pub(super) pause_first: Duration,
    pub(super) pause_max: Duration,
}

#[derive(Debug)]
pub(super) struct Breaker {
    settings: BreakerSettings,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant, pause: Duration, probing: bool },
}

/// A request that may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ticket {
    /// One among many.
    Usual,
    /// The one that looks whether the server is back.
    Probe,
}

impl Breaker {
    pub(super) fn new(settings: BreakerSettings) -> Self {
        Self { settings, state: Mutex::new(State::Closed { failures: 0 }) }
    }

    /// Whether a request may be sent; else how long to wait.
    pub(super) fn admit(&self, now: Instant) -> Result<Ticket, Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *state {
            State::Closed { .. } => Ok(Ticket::Usual),
            State::Open { until, .. } if now < *until => Err(*until - now),
            State::Open { probing: true, .. } => Err(WHILE_PROBING),
            State::Open { probing, .. } => {
                *probing = true;
                Ok(Ticket::Probe)
            }
        }
    }

    /// How a request ended. True when this opened the breaker.
    pub(super) fn ended(&self, ticket: Ticket, health: Health, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let BreakerSettings { failures_max, pause_first, pause_max } = self.settings;
        if failures_max == 0 {
            return false;
        }
        let asked = match health {
            Health::Busy { retry_after_s: Some(seconds) } => Some(Duration::from_secs(seconds.clamp(1, ASKED_S_MAX))),
            _ => None,
        };
        match (*state, ticket, health) {
            (State::Closed { .. }, _, Health::Alive) | (State::Open { .. }, Ticket::Probe, Health::Alive) => {
                *state = State::Closed { failures: 0 };
                false
            }
            (State::Closed { failures }, _, _) => {
                let failures = failures + 1;
                let open = failures >= failures_max || asked.is_some();
                *state = if open { State::Open { until: now + asked.unwrap_or(pause_first), pause: pause_first, probing: false } } else { State::Closed { failures } };
                open
            }
            (State::Open { pause, .. }, Ticket::Probe, _) => {
                let pause = (pause * 2).min(pause_max);
                *state = State::Open { until: now + asked.unwrap_or(pause), pause, probing: false };
                true
            }
            // Sent before it opened: late news.
            (State::Open { .. }, Ticket::Usual, _) => false,
        }
    }

    /// A request was given up: it tells nothing, and another may look.
    pub(super) fn given_up(&self, ticket: Ticket) {
        if ticket == Ticket::Probe
            && let State::Open { probing, .. } = &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner)
        {
            *probing = false;
        }
    }

    /// Whether requests are refused now.
    pub(super) fn is_open(&self) -> bool {
        matches!(*self.state.lock().unwrap_or_else(PoisonError::into_inner), State::Open { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Breaker {
        Breaker::new(BreakerSettings { failures_max: 3, pause_first: Duration::from_secs(5), pause_max: Duration::from_secs(12) })
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_one_looks_whether_it_is_back() {
        let (breaker, now) = (breaker(), Instant::now());
        for health in [Health::Failing, Health::Failing, Health::Alive, Health::Failing, Health::Busy { retry_after_s: None }] {
            assert_eq!(breaker.admit(now), Ok(Ticket::Usual));
            assert!(!breaker.ended(Ticket::Usual, health, now));
        }
        assert!(breaker.ended(Ticket::Usual, Health::Failing, now));
        assert_eq!(breaker.admit(now), Err(Duration::from_secs(5)));
        // What was on its way neither opens nor closes it.
        assert!(!breaker.ended(Ticket::Usual, Health::Alive, now));
        assert!(breaker.is_open());
        let later = now + Duration::from_secs(5);
        assert_eq!(breaker.admit(later), Ok(Ticket::Probe));
        assert_eq!(breaker.admit(later), Err(WHILE_PROBING));
        // Longer and longer, up to a limit.
        assert!(breaker.ended(Ticket::Probe, Health::Failing, later));
        assert_eq!(breaker.admit(later), Err(Duration::from_secs(10)));
        let later = later + Duration::from_secs(10);
        assert_eq!(breaker.admit(later), Ok(Ticket::Probe));
        breaker.given_up(Ticket::Probe);
        assert_eq!(breaker.admit(later), Ok(Ticket::Probe), "another one looks");
        breaker.ended(Ticket::Probe, Health::Failing, later);
        assert_eq!(breaker.admit(later), Err(Duration::from_secs(12)));
        let later = later + Duration::from_secs(12);
        assert_eq!(breaker.admit(later), Ok(Ticket::Probe));
        breaker.ended(Ticket::Probe, Health::Alive, later);
        assert_eq!(breaker.admit(later), Ok(Ticket::Usual));
    }

    #[test]
    fn a_server_that_says_how_long_to_wait_is_believed() {
        let (breaker, now) = (breaker(), Instant::now());
        assert!(breaker.ended(Ticket::Usual, Health::Busy { retry_after_s: Some(7) }, now));
        assert_eq!(breaker.admit(now), Err(Duration::from_secs(7)));
        let other = Breaker::new(breaker.settings);
        other.ended(Ticket::Usual, Health::Busy { retry_after_s: Some(86_400) }, now);
        assert_eq!(other.admit(now), Err(Duration::from_secs(60)));
    }
}
