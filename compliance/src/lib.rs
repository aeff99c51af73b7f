//! The twin: a Python worker and Myelin on the same database are asked the same, and must answer the same.

mod afar;
mod allowed;
mod ask;
mod chance;
mod compare;
mod effects;
mod long_poll;
mod names;
mod row;
pub mod run;
pub mod scenario;
mod seed;
mod sign;
mod stack;
mod table;
