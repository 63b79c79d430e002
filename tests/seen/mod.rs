//! What a person sees of a running proxy: the screen of `top`, the page, the dashboard. Real terminals, a real browser.
mod alerts;
mod browser;
mod dashboard;
mod page;
mod prometheus;
mod secrets;
mod top;
