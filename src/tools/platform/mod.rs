//! About the connection itself: what a careful agent asks before it starts.

pub mod odoo_contexto;
