//! Where the law asks for more care with privacy zones than a policy might take: a table of regions that a deployer
//! chooses.

use std::collections::BTreeSet;
use std::str::FromStr;

use ring_partner::devices::Location;

use super::PrivacyZones;

/// The European Economic Area: the European Union, Iceland, Liechtenstein and Norway.
const EEA: [&str; 30] = [
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IS", "IT", "LI", "LT",
    "LU", "LV", "MT", "NL", "NO", "PL", "PT", "RO", "SE", "SI", "SK",
];

/// The regions in which privacy zones are obscured at the least, whatever a policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regions {
    countries: BTreeSet<String>,
    /// By country and state.
    states: BTreeSet<(String, String)>,
}

impl Regions {
    /// An empty table: nothing is forced.
    #[must_use]
    pub fn none() -> Self {
        Self {
            countries: BTreeSet::new(),
            states: BTreeSet::new(),
        }
    }

    /// The least that is done about privacy zones at a place. A place that is not known well enough to tell has the strictest.
    #[must_use]
    pub fn least(&self, location: Option<&Location>) -> PrivacyZones {
        if self.countries.is_empty() && self.states.is_empty() {
            return PrivacyZones::Allow;
        }
        let country = location.and_then(|location| location.country.as_deref());
        let Some(country) = country.map(country_code).filter(|country| !country.is_empty()) else {
            return PrivacyZones::Block;
        };
        if self.countries.contains(&country) {
            return PrivacyZones::Obscure;
        }
        if !self.states.iter().any(|(of, _)| *of == country) {
            return PrivacyZones::Allow;
        }
        let state = location.and_then(|location| location.state.as_deref());
        let state = state.map(|state| state_code(state, &country));
        let Some(state) = state.filter(|state| !state.is_empty()) else {
            return PrivacyZones::Block;
        };
        if self.states.contains(&(country, state)) {
            PrivacyZones::Obscure
        } else {
            PrivacyZones::Allow
        }
    }
}

/// What is wrong with a table of regions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no region: EEA, UK, a country such as CH, or a state of one such as US-CA")]
pub struct UnknownRegion(String);

impl FromStr for Regions {
    type Err = UnknownRegion;

    /// Regions with commas between.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut regions = Self::none();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let is_code =
                |code: &str| (2..=3).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_uppercase());
            match word.split_once('-') {
                None if word == "EEA" => regions.countries.extend(EEA.map(str::to_owned)),
                None if word.len() == 2 && is_code(word) => {
                    regions.countries.insert(country_code(word));
                }
                Some((country, state)) if country.len() == 2 && is_code(country) && is_code(state) => {
                    regions.states.insert((country_code(country), state.to_owned()));
                }
                _ => return Err(UnknownRegion(word.to_owned())),
            }
        }
        Ok(regions)
    }
}

/// A country's code in capitals; the United Kingdom has two in use.
fn country_code(country: &str) -> String {
    match country.trim().to_ascii_uppercase().as_str() {
        "UK" => "GB".to_owned(),
        other => other.to_owned(),
    }
}

/// A state's code in capitals, also where it comes with its country (`US-CA`), or as one of the names that matter.
fn state_code(state: &str, country: &str) -> String {
    let state = state.trim().to_ascii_uppercase();
    let state = state
        .strip_prefix(country)
        .and_then(|rest| rest.strip_prefix('-'))
        .unwrap_or(&state);
    match state {
        "CALIFORNIA" => "CA".to_owned(),
        "ILLINOIS" => "IL".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn least(table: &str, country: &str, state: &str) -> PrivacyZones {
        let or_null = |text: &str| if text.is_empty() { json!(null) } else { json!(text) };
        let location = json!({"country": or_null(country), "state": or_null(state)});
        let location: Location = serde_json::from_value(location).unwrap();
        table.parse::<Regions>().unwrap().least(Some(&location))
    }

    #[test]
    fn trap_86_the_table_has_the_eea_the_uk_and_states() {
        let table = "EEA,UK,US-CA,US-IL";
        for (country, state) in [
            ("DE", ""),
            ("NO", ""),
            ("IS", ""),
            ("LI", ""),
            ("de", ""),
            ("GB", ""),
            ("UK", "England"),
            ("US", "CA"),
            ("US", "ca"),
            ("US", "US-IL"),
            ("US", "Illinois"),
        ] {
            assert_eq!(least(table, country, state), PrivacyZones::Obscure, "{country} {state}");
        }
        for (country, state) in [("US", "GA"), ("CH", ""), ("CA", "ON"), ("AU", "")] {
            assert_eq!(least(table, country, state), PrivacyZones::Allow, "{country} {state}");
        }
        for (country, state) in [("US", ""), ("", "CA"), ("", "")] {
            assert_eq!(least(table, country, state), PrivacyZones::Block, "{country} {state}");
        }
        assert_eq!(table.parse::<Regions>().unwrap().least(None), PrivacyZones::Block);
    }

    #[test]
    fn an_empty_table_forces_nothing_and_a_word_that_is_no_region_is_refused() {
        assert_eq!(least("", "", ""), PrivacyZones::Allow);
        assert_eq!(least("EEA", "US", ""), PrivacyZones::Allow, "no state is asked for");
        for wrong in ["Europe", "us-ca", "US-", "US-California", "D"] {
            assert_eq!(wrong.parse::<Regions>(), Err(UnknownRegion(wrong.to_owned())));
        }
    }
}
