//! The exact split: which version the next request goes to.
//!
//! How: the 100 places of a cycle are dealt out once, in the order of a smooth weighted round
//! robin; ticket number n gets place n mod 100. Any 100 consecutive tickets therefore hold each
//! place exactly once, so each version gets exactly its percentile, and neighbours are spread as
//! evenly as the numbers allow. Random draws would be off by several requests in 100.

/// Places of a cycle: percentiles are integers.
const PLACES: usize = 100;

/// The order in which versions take their turns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    places: [u8; PLACES],
    shares: Vec<u8>,
}

impl Split {
    /// Deals out the places. `percentiles` are as written, one per version; what is missing to 100
    /// goes to `default_version`. A sum over 100 is refused long before; here the surplus of the
    /// later versions is cut, so that the type always holds exactly 100 places.
    pub fn new(percentiles: &[u8], default_version: usize) -> Self {
        let mut left = 100_u8;
        let mut shares: Vec<u8> = percentiles
            .iter()
            .map(|percentile| {
                let share = (*percentile).min(left);
                left -= share;
                share
            })
            .collect();
        if let Some(share) = shares.get_mut(default_version) {
            *share += left;
        }
        Self { places: deal(&shares), shares }
    }

    /// The version for this ticket. Tickets count up by one per unpinned request.
    pub fn version(&self, ticket: u64) -> usize {
        let place = usize::try_from(ticket % PLACES as u64).unwrap_or(0);
        usize::from(self.places.get(place).copied().unwrap_or(0))
    }

    /// What each version really gets, in percent; sums to 100.
    pub fn shares(&self) -> &[u8] {
        &self.shares
    }
}

fn deal(shares: &[u8]) -> [u8; PLACES] {
    let mut credits = vec![0_i32; shares.len()];
    let mut places = [0_u8; PLACES];
    for place in &mut places {
        let mut winner = 0;
        let mut best = i32::MIN;
        for (version, (credit, share)) in credits.iter_mut().zip(shares).enumerate() {
            *credit += i32::from(*share);
            if *credit > best && *share > 0 {
                best = *credit;
                winner = version;
            }
        }
        if let Some(credit) = credits.get_mut(winner) {
            *credit -= 100;
        }
        *place = u8::try_from(winner).unwrap_or(0);
    }
    places
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn count(split: &Split, from: u64, tickets: u64, versions: usize) -> Vec<u32> {
        let mut counts = vec![0; versions];
        for ticket in from..from + tickets {
            counts[split.version(ticket)] += 1;
        }
        counts
    }

    #[test]
    fn the_default_takes_what_is_missing() {
        let split = Split::new(&[20, 10], 0);
        assert_eq!(split.shares(), [90, 10]);
        assert_eq!(count(&split, 7, 100, 2), [90, 10]);
    }

    #[test]
    fn zero_percent_gets_nothing() {
        let split = Split::new(&[0, 100, 0], 1);
        assert_eq!(count(&split, 0, 1000, 3), [0, 1000, 0]);
    }

    proptest! {
        #[test]
        fn any_hundred_tickets_are_exact(
            cuts in proptest::collection::vec(0_u8..=100, 5),
            default_version in 0_usize..6,
            from in any::<u32>(),
        ) {
            let mut cuts = cuts;
            cuts.push(0);
            cuts.sort_unstable();
            let mut percentiles: Vec<u8> = cuts.windows(2).map(|w| w[1] - w[0]).collect();
            percentiles.push(0);
            let split = Split::new(&percentiles, default_version);
            prop_assert_eq!(split.shares().iter().map(|s| u32::from(*s)).sum::<u32>(), 100);
            let counts = count(&split, u64::from(from), 100, 6);
            for (count, share) in counts.iter().zip(split.shares()) {
                prop_assert_eq!(*count, u32::from(*share));
            }
        }

        #[test]
        fn short_windows_are_off_by_few(a in 1_u8..100, from in 0_u64..200, length in 1_u64..100) {
            let split = Split::new(&[a, 100 - a], 0);
            let counts = count(&split, from, length, 2);
            let expected = f64::from(a) * f64::from(u32::try_from(length).unwrap()) / 100.0;
            prop_assert!((f64::from(counts[0]) - expected).abs() <= 1.0);
        }
    }
}
