//! The offline Ring as a program.

fn main() {}
