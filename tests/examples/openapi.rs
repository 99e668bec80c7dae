//! Prints the description of the API, as the programs' routes say it: into `functions/partner-api/openapi.json`, which
//! is served.

fn main() {
    let document = shared::edge::description::whole([partner_api::description(), account_link::description()]);
    println!("{document:#}");
}
