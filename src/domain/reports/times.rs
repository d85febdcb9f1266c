//! How long calls took, out of buckets.

use migration::rollups::TIME_BOUNDS_US;
use serde::Serialize;

pub(super) const BUCKETS: usize = TIME_BOUNDS_US.len() + 1;

/// Of some calls, milliseconds. Mean is exact; a quantile is interpolated within its bucket (1, 2.5, 5, 10, 25 … ms), so that it is off by
/// less than the bucket's width; beyond the last bound (25 s) it says 25 s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Quantiles {
    /// How many.
    pub calls: i64,
    /// Half of them took no longer.
    pub p50_ms: Option<f64>,
    /// 95 of 100 took no longer.
    pub p95_ms: Option<f64>,
    /// On average.
    pub mean_ms: Option<f64>,
}

/// Where the time went. Calls that ended with a result or an error; what was refused or given up took no time worth a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Times {
    /// The whole call.
    pub total: Quantiles,
    /// Its part in the client's Odoo; only calls that asked it.
    pub odoo: Quantiles,
    /// Its part in Dunet.
    pub own: Quantiles,
}

impl Quantiles {
    pub(super) fn of(buckets: &[i64; BUCKETS], sum_us: i64) -> Self {
        let calls: i64 = buckets.iter().sum();
        let mean_ms = (calls > 0).then(|| round(sum_us as f64 / calls as f64 / 1_000.0));
        Self { calls, p50_ms: quantile_ms(buckets, calls, 0.5), p95_ms: quantile_ms(buckets, calls, 0.95), mean_ms }
    }
}

fn quantile_ms(buckets: &[i64; BUCKETS], calls: i64, share: f64) -> Option<f64> {
    if calls <= 0 {
        return None;
    }
    let rank = share * calls as f64;
    let mut below = 0;
    for (bucket, count) in buckets.iter().enumerate() {
        if *count > 0 && (below + count) as f64 >= rank {
            let floor = bucket.checked_sub(1).map_or(0, |before| TIME_BOUNDS_US[before]) as f64;
            let ceiling = TIME_BOUNDS_US.get(bucket).map_or(floor, |bound| *bound as f64);
            let within = (rank - below as f64) / *count as f64;
            return Some(round((floor + (ceiling - floor) * within) / 1_000.0));
        }
        below += count;
    }
    None
}

/// To the hundredth.
fn round(ms: f64) -> f64 {
    (ms * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_in_its_bucket() {
        assert_eq!(Quantiles::of(&[0; BUCKETS], 0), Quantiles::default());
        let mut buckets = [0; BUCKETS];
        // 90 calls between 5 and 10 ms, ten between 1 and 2.5 s.
        (buckets[3], buckets[10]) = (90, 10);
        let of = Quantiles::of(&buckets, 20_000_000);
        assert_eq!((of.calls, of.mean_ms), (100, Some(200.0)));
        assert_eq!(of.p50_ms, Some(7.78));
        assert!(of.p95_ms.is_some_and(|ms| ms > 1_000.0 && ms <= 2_500.0), "{of:?}");
        let mut long = [0; BUCKETS];
        long[BUCKETS - 1] = 1;
        assert_eq!(Quantiles::of(&long, 40_000_000).p95_ms, Some(25_000.0));
    }
}
