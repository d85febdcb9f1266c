//! The models of the sandbox, with the field names and types of Odoo 19. Not all of Odoo: what the tools read and
//! write, and what stands close to it. Add a field here and it can be searched, read and written.

use super::Kind::{Boolean, Char, Date, Datetime, Float, Html, Integer, Many2many, Many2one, Monetary, One2many, Selection, Text};
use super::{Access, Field, Model, field};

const ADDRESS_TYPES: &[(&str, &str)] = &[("contact", "Contact"), ("invoice", "Invoice"), ("delivery", "Delivery"), ("other", "Other")];
const COMPANY_TYPES: &[(&str, &str)] = &[("person", "Person"), ("company", "Company")];
const PRODUCT_TYPES: &[(&str, &str)] = &[("consu", "Goods"), ("service", "Service"), ("combo", "Combo")];
const ORDER_STATES: &[(&str, &str)] = &[("draft", "Quotation"), ("sent", "Quotation Sent"), ("sale", "Sales Order"), ("cancel", "Cancelled")];
const INVOICE_STATES: &[(&str, &str)] = &[("upselling", "Upselling Opportunity"), ("invoiced", "Fully Invoiced"), ("to invoice", "To Invoice"), ("no", "Nothing to Invoice")];
const LINE_TYPES: &[(&str, &str)] = &[("line_section", "Section"), ("line_subsection", "Subsection"), ("line_note", "Note")];
const TAX_USES: &[(&str, &str)] = &[("sale", "Sales"), ("purchase", "Purchases"), ("none", "None")];
const MOVE_TYPES: &[(&str, &str)] = &[("entry", "Journal Entry"), ("out_invoice", "Customer Invoice"), ("out_refund", "Customer Credit Note")];
const MOVE_STATES: &[(&str, &str)] = &[("draft", "Draft"), ("posted", "Posted"), ("cancel", "Cancelled")];
const TAX_TYPES: &[(&str, &str)] = &[("percent", "Percentage"), ("fixed", "Fixed")];
const PRICE_TYPES: &[(&str, &str)] = &[("fixed", "Fixed Price"), ("percentage", "Discount"), ("formula", "Formula")];
const APPLIED_ON: &[(&str, &str)] = &[("3_global", "All Products"), ("2_product_category", "Product Category"), ("1_product", "Product"), ("0_product_variant", "Product Variant")];
const MODULE_STATES: &[(&str, &str)] = &[("uninstallable", "Uninstallable"), ("uninstalled", "Not Installed"), ("installed", "Installed")];

static PARTNER: &[Field] = &[
    field("name", "Name", Char),
    field("complete_name", "Complete Name", Char).computed(),
    field("active", "Active", Boolean),
    field("is_company", "Is a Company", Boolean),
    field("company_type", "Company Type", Selection(COMPANY_TYPES)).computed(),
    field("company_name", "Company Name", Char),
    field("type", "Address Type", Selection(ADDRESS_TYPES)),
    field("parent_id", "Related Company", Many2one("res.partner")),
    field("parent_name", "Parent name", Char).computed(),
    field("child_ids", "Contact", One2many("res.partner", "parent_id")),
    field("commercial_partner_id", "Commercial Entity", Many2one("res.partner")).computed(),
    field("function", "Job Position", Char),
    field("vat", "Tax ID", Char),
    field("ref", "Reference", Char),
    field("phone", "Phone", Char),
    field("phone_sanitized", "Sanitized Number", Char).computed(),
    field("phone_mobile_search", "Phone Number", Char).computed(),
    field("email", "Email", Char),
    field("email_normalized", "Normalized Email", Char).computed(),
    field("website", "Website Link", Char),
    field("street", "Street", Char),
    field("street2", "Street2", Char),
    field("city", "City", Char),
    field("zip", "Zip", Char),
    field("state_id", "State", Many2one("res.country.state")),
    field("country_id", "Country", Many2one("res.country")),
    field("country_code", "Country Code", Char).computed(),
    field("lang", "Language", Char),
    field("tz", "Timezone", Char),
    field("user_id", "Salesperson", Many2one("res.users")),
    field("company_id", "Company", Many2one("res.company")),
    field("category_id", "Tags", Many2many("res.partner.category")),
    field("comment", "Notes", Html),
    field("color", "Color Index", Integer),
    field("customer_rank", "Customer Rank", Integer),
    field("supplier_rank", "Supplier Rank", Integer),
    field("credit_limit", "Credit Limit", Float),
    field("currency_id", "Currency", Many2one("res.currency")).computed(),
    field("property_product_pricelist", "Pricelist", Many2one("product.pricelist")),
    field("property_payment_term_id", "Customer Payment Terms", Many2one("account.payment.term")),
    field("sale_order_ids", "Sales Order", One2many("sale.order", "partner_id")).computed(),
    field("sale_order_count", "Sale Order Count", Integer).computed(),
];

static PRODUCT: &[Field] = &[
    field("name", "Name", Char).required(),
    field("default_code", "Internal Reference", Char),
    field("barcode", "Barcode", Char),
    field("active", "Active", Boolean),
    field("sale_ok", "Sales", Boolean),
    field("purchase_ok", "Purchase", Boolean),
    field("type", "Product Type", Selection(PRODUCT_TYPES)).required(),
    field("is_storable", "Track Inventory", Boolean),
    field("categ_id", "Product Category", Many2one("product.category")),
    field("uom_id", "Unit", Many2one("uom.uom")).required(),
    field("list_price", "Sales Price", Float),
    field("lst_price", "Sales Price", Float).computed(),
    field("standard_price", "Cost", Float),
    field("currency_id", "Currency", Many2one("res.currency")).computed(),
    field("taxes_id", "Sales Taxes", Many2many("account.tax")),
    field("description_sale", "Sales Description", Text),
    field("qty_available", "Quantity On Hand", Float),
    field("free_qty", "Free To Use Quantity ", Float),
    field("virtual_available", "Forecasted Quantity", Float).computed(),
    field("company_id", "Company", Many2one("res.company")),
];

static ORDER: &[Field] = &[
    field("name", "Order Reference", Char).required(),
    field("state", "Status", Selection(ORDER_STATES)),
    field("partner_id", "Customer", Many2one("res.partner")).required(),
    field("partner_invoice_id", "Invoice Address", Many2one("res.partner")),
    field("partner_shipping_id", "Delivery Address", Many2one("res.partner")),
    field("date_order", "Order Date", Datetime).required(),
    field("validity_date", "Expiration", Date),
    field("pricelist_id", "Pricelist", Many2one("product.pricelist")),
    field("currency_id", "Currency", Many2one("res.currency")),
    field("company_id", "Company", Many2one("res.company")).required(),
    field("user_id", "Salesperson", Many2one("res.users")),
    field("payment_term_id", "Payment Terms", Many2one("account.payment.term")),
    field("client_order_ref", "Customer Reference", Char),
    field("origin", "Source Document", Char),
    field("note", "Terms and conditions", Html),
    field("order_line", "Order Lines", One2many("sale.order.line", "order_id")),
    field("amount_untaxed", "Untaxed Amount", Monetary),
    field("amount_tax", "Taxes", Monetary),
    field("amount_total", "Total", Monetary),
    field("invoice_status", "Invoice Status", Selection(INVOICE_STATES)),
    field("locked", "Locked", Boolean),
    field("is_expired", "Is Expired", Boolean).computed(),
    field("access_token", "Security Token", Char),
    field("access_url", "Portal Access URL", Char).computed(),
    field("country_code", "Country code", Char).computed(),
    field("commitment_date", "Delivery Date", Datetime),
    field("require_signature", "Online signature", Boolean),
];

static ORDER_LINE: &[Field] = &[
    field("order_id", "Order Reference", Many2one("sale.order")).required(),
    field("sequence", "Sequence", Integer),
    field("display_type", "Display Type", Selection(LINE_TYPES)),
    field("product_id", "Product", Many2one("product.product")),
    field("name", "Description", Text).required(),
    field("product_uom_qty", "Quantity", Float),
    field("product_uom_id", "Unit", Many2one("uom.uom")),
    field("price_unit", "Unit Price", Float),
    field("discount", "Discount (%)", Float),
    field("tax_ids", "Taxes", Many2many("account.tax")),
    field("price_subtotal", "Subtotal", Monetary),
    field("price_tax", "Total Tax", Float),
    field("price_total", "Total", Monetary),
    field("qty_delivered", "Delivery Quantity", Float),
    field("qty_invoiced", "Invoiced Quantity", Float),
    field("state", "Order Status", Selection(ORDER_STATES)).computed(),
    field("currency_id", "Currency", Many2one("res.currency")).computed(),
    field("company_id", "Company", Many2one("res.company")).computed(),
    field("order_partner_id", "Customer", Many2one("res.partner")).computed(),
];

static MOVE: &[Field] = &[
    field("name", "Number", Char),
    field("move_type", "Type", Selection(MOVE_TYPES)).required(),
    field("state", "Status", Selection(MOVE_STATES)).required(),
    field("partner_id", "Partner", Many2one("res.partner")),
    field("currency_id", "Currency", Many2one("res.currency")),
    field("invoice_origin", "Origin", Char),
    field("ref", "Reference", Char),
    field("invoice_line_ids", "Invoice lines", One2many("account.move.line", "move_id")),
    field("amount_tax", "Tax", Monetary),
];

static MOVE_LINE: &[Field] = &[
    field("move_id", "Journal Entry", Many2one("account.move")).required(),
    field("display_type", "Display Type", Selection(LINE_TYPES)),
    field("name", "Label", Text),
    field("quantity", "Quantity", Float),
    field("price_unit", "Unit Price", Float),
    field("tax_ids", "Taxes", Many2many("account.tax")),
];

static COMPANY: &[Field] = &[
    field("name", "Company Name", Char).required(),
    field("active", "Active", Boolean),
    field("partner_id", "Partner", Many2one("res.partner")).required(),
    field("currency_id", "Currency", Many2one("res.currency")).required(),
    field("country_id", "Country", Many2one("res.country")),
    field("vat", "Tax ID", Char),
    field("phone", "Phone", Char),
    field("email", "Email", Char),
    field("street", "Street", Char),
    field("city", "City", Char),
    field("quotation_validity_days", "Default Quotation Validity", Integer),
];

static USER: &[Field] = &[
    field("name", "Name", Char).required(),
    field("login", "Login", Char).required(),
    field("active", "Active", Boolean),
    field("lang", "Language", Char),
    field("tz", "Timezone", Char),
    field("email", "Email", Char),
    field("partner_id", "Related Partner", Many2one("res.partner")),
    field("company_id", "Company", Many2one("res.company")).required(),
    field("company_ids", "Companies", Many2many("res.company")),
];

static CURRENCY: &[Field] = &[
    field("name", "Currency", Char).required(),
    field("full_name", "Name", Char),
    field("symbol", "Symbol", Char).required(),
    field("position", "Symbol Position", Selection(&[("after", "After Amount"), ("before", "Before Amount")])),
    field("rounding", "Rounding Factor", Float),
    field("decimal_places", "Decimal Places", Integer),
    field("active", "Active", Boolean),
];

static COUNTRY: &[Field] = &[field("name", "Country Name", Char).required(), field("code", "Country Code", Char).required(), field("phone_code", "Country Calling Code", Integer)];

static STATE: &[Field] =
    &[field("name", "State Name", Char).required(), field("code", "State Code", Char).required(), field("country_id", "Country", Many2one("res.country")).required()];

static TAX: &[Field] = &[
    field("name", "Tax Name", Char).required(),
    field("amount", "Amount", Float),
    field("amount_type", "Tax Computation", Selection(TAX_TYPES)),
    field("type_tax_use", "Tax Type", Selection(TAX_USES)),
    field("price_include", "Included in Price", Boolean),
    field("active", "Active", Boolean),
    field("company_id", "Company", Many2one("res.company")),
];

static PRICELIST: &[Field] = &[
    field("name", "Pricelist Name", Char).required(),
    field("active", "Active", Boolean),
    field("currency_id", "Currency", Many2one("res.currency")).required(),
    field("company_id", "Company", Many2one("res.company")),
    field("item_ids", "Pricelist Rules", One2many("product.pricelist.item", "pricelist_id")).computed(),
];

static PRICELIST_ITEM: &[Field] = &[
    field("pricelist_id", "Pricelist", Many2one("product.pricelist")).required(),
    field("applied_on", "Apply On", Selection(APPLIED_ON)),
    field("compute_price", "Compute Price", Selection(PRICE_TYPES)),
    field("percent_price", "Percentage Price", Float),
    field("fixed_price", "Fixed Price", Float),
    field("min_quantity", "Min. Quantity", Float),
    field("product_id", "Product Variant", Many2one("product.product")),
    field("categ_id", "Product Category", Many2one("product.category")),
];

static CATEGORY: &[Field] =
    &[field("name", "Name", Char).required(), field("parent_id", "Parent Category", Many2one("product.category")), field("complete_name", "Complete Name", Char).computed()];
static NAMED: &[Field] = &[field("name", "Name", Char).required(), field("active", "Active", Boolean)];
static LANG: &[Field] =
    &[field("name", "Name", Char).required(), field("code", "Locale Code", Char).required(), field("iso_code", "ISO code", Char), field("active", "Active", Boolean)];
static MODULE: &[Field] = &[
    field("name", "Technical Name", Char).required(),
    field("shortdesc", "Module Name", Char),
    field("state", "Status", Selection(MODULE_STATES)),
    field("application", "Application", Boolean),
    field("installed_version", "Latest Version", Char),
];
static PARAMETER: &[Field] = &[field("key", "Key", Char).required(), field("value", "Value", Text).required()];

const fn model(name: &'static str, label: &'static str, access: Access, fields: &'static [Field]) -> Model {
    Model { name, label, order: "id", rec_name: "name", search_names: &["name"], access, fields }
}

pub(super) static MODELS: &[Model] = &[
    Model { order: "complete_name, id desc", search_names: &["complete_name", "email", "ref", "vat"], ..model("res.partner", "Contact", Access::Full, PARTNER) },
    Model { order: "name", ..model("res.partner.category", "Partner Tags", Access::Full, NAMED) },
    Model { order: "default_code, name, id", search_names: &["default_code", "barcode", "name"], ..model("product.product", "Product Variant", Access::Full, PRODUCT) },
    Model { order: "complete_name", search_names: &["complete_name"], ..model("product.category", "Product Category", Access::Read, CATEGORY) },
    model("product.pricelist", "Pricelist", Access::Read, PRICELIST),
    Model { rec_name: "id", search_names: &[], ..model("product.pricelist.item", "Pricelist Rule", Access::Read, PRICELIST_ITEM) },
    Model { order: "date_order desc, id desc", search_names: &["name", "client_order_ref", "partner_id"], ..model("sale.order", "Sales Order", Access::Full, ORDER) },
    Model { order: "order_id, sequence, id", ..model("sale.order.line", "Sales Order Line", Access::Full, ORDER_LINE) },
    Model { order: "name", ..model("res.company", "Companies", Access::Read, COMPANY) },
    Model { order: "name, login", search_names: &["name", "login"], ..model("res.users", "User", Access::Read, USER) },
    Model { order: "active desc, name", ..model("res.currency", "Currency", Access::Read, CURRENCY) },
    Model { order: "name", search_names: &["name", "code"], ..model("res.country", "Country", Access::Read, COUNTRY) },
    Model { order: "code", search_names: &["name", "code"], ..model("res.country.state", "Country state", Access::Read, STATE) },
    Model { order: "active desc, name", search_names: &["name", "code"], ..model("res.lang", "Languages", Access::Read, LANG) },
    model("account.tax", "Tax", Access::Read, TAX),
    // Drafts as they were sent: nothing is worked out of their lines.
    Model { order: "id desc", search_names: &["name", "ref"], ..model("account.move", "Journal Entry", Access::Full, MOVE) },
    Model { order: "move_id, id", ..model("account.move.line", "Journal Item", Access::Full, MOVE_LINE) },
    model("account.payment.term", "Payment Terms", Access::Read, NAMED),
    model("uom.uom", "Unit of Measure", Access::Read, NAMED),
    Model { order: "name", ..model("ir.module.module", "Module", Access::Read, MODULE) },
    // Exists so that a refusal can be seen: nobody but an administrator reads it in the real one either.
    Model { order: "key", rec_name: "key", search_names: &["key"], ..model("ir.config_parameter", "System Parameter", Access::None, PARAMETER) },
];
