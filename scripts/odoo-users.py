"""Run by `odoo shell` in the template database: the users that the tests log in as.

Prints their logins and API keys as KEY=VALUE lines. `env` is the shell's.
"""
# ruff: noqa: F821

company = env.ref("base.demo_company_do")  # Dominican: pesos, the chart and taxes of l10n_do

# The demo company is older than the stock module and so has no warehouse; without one no order
# of its can be confirmed.
if not env["stock.warehouse"].search_count([("company_id", "=", company.id)]):
    for part in ("locations", "sequences", "picking_types", "rules"):
        getattr(company.sudo(), f"_create_per_company_{part}")()
    env["stock.warehouse"].create(
        {"name": company.name, "code": "DO", "company_id": company.id, "partner_id": company.partner_id.id}
    )


def new_user(name, login, *groups):
    return env["res.users"].with_context(no_reset_password=True).create({
        "name": name,
        "login": login,
        "password": login,
        "lang": "es_DO",
        "tz": "America/Santo_Domingo",
        "company_id": company.id,
        "company_ids": [(6, 0, company.ids)],
        "group_ids": [(6, 0, [env.ref(group).id for group in groups])],
    })


admin = env.ref("base.user_admin")
admin.password = "admin"
users = {
    "": admin,
    # what an integration is given: one company, all that selling needs
    "API_": new_user(
        "Integración API", "api", "base.group_user", "base.group_partner_manager", "base.group_allow_export",
        "sales_team.group_sale_manager", "product.group_product_manager", "account.group_account_manager",
        "stock.group_stock_user",
    ),
    # an employee who may see next to nothing: for access errors
    "LIMITED_": new_user("Usuario limitado", "limited", "base.group_user"),
}
lines = {"COMPANY_ID": env.ref("base.main_company").id, "DO_COMPANY_ID": company.id}
for prefix, user in users.items():
    lines[f"{prefix}LOGIN"] = lines[f"{prefix}PASSWORD"] = user.login
    lines[f"{prefix}UID"] = user.id
    lines[f"{prefix}API_KEY"] = env["res.users.apikeys"].with_user(user).sudo()._generate(None, "tests", None)

# an administrator's login would else set web.base.url to whatever address it came by
env["ir.config_parameter"].set_param("web.base.url.freeze", "True")
env.cr.commit()
for key, value in lines.items():
    print(f"ODOO_TEST_{key}={value}")
