//! Prints the figures of the source and of what was built: `make figures`.
//!
//! Compiled by `.ci/figures` with rustc alone, from the files of the tidy checks, so both count in the same way.

#[path = "../tests/tidy/figures.rs"]
mod figures;
#[allow(dead_code)]
#[path = "../tests/tidy/source.rs"]
mod source;

use figures::Figures;
use source::{packages, read, sources_below};

fn main() {
    println!(
        "{:<28} {:>7} {:>6} {:>17} {:>6} {:>8}",
        "", "lines", "files", "function p50/90/max", "pub", "circles"
    );
    let mut circles = Vec::new();
    for folder in packages() {
        let figures = Figures::new(&sources_below(&folder));
        let lengths = [50, 90, 100].map(|part| figures.function_lines(part).to_string()).join("/");
        println!(
            "{folder:<28} {:>7} {:>6} {lengths:>17} {:>6} {:>8}",
            figures.lines,
            figures.files,
            figures.public_items,
            figures.circles.len()
        );
        circles.extend(figures.circles);
    }
    for circle in circles {
        println!("circle: {}", circle.join(" "));
    }
    let lock = read("Cargo.lock");
    let packages = lock.lines().filter(|line| line.starts_with("source = ")).count();
    println!("{packages} packages of others in Cargo.lock");
}
