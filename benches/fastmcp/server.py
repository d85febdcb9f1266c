"""The same look-up as `consultar_rnc_dgii`, on a tuned Python FastMCP server: what `scripts/bench` compares Dunet with.

    server.py PORT PADRON_DIR

Tuned as far as its documentation goes: uvicorn with uvloop and httptools, no access log, stateless, plain JSON answers, an async tool
(a plain function would run in a thread), one read-only immutable SQLite connection with its statement cache, no start-up objects left to
the garbage collector. It reads the same index file as Dunet. It does less: no authentication, no limits, no metering, no request log.
"""

import datetime
import gc
import json
import pathlib
import sqlite3
import sys

import uvicorn
from fastmcp import FastMCP
from mcp.types import ToolAnnotations

QUERY = """SELECT t.name, t.trade, a.text, t.start, s.text, r.text FROM taxpayer t
LEFT JOIN label a ON a.number = t.activity LEFT JOIN label s ON s.number = t.status LEFT JOIN label r ON r.number = t.regime WHERE t.key = ?"""

port, folder = int(sys.argv[1]), pathlib.Path(sys.argv[2])
active = json.loads((folder / "active.json").read_text())["active"]
cutoff = active["info"]["cutoff"]
age_days = (datetime.date.today() - datetime.date.fromisoformat(cutoff)).days
db = sqlite3.connect(f"file:{folder / active['file']}?immutable=1", uri=True, check_same_thread=False)
db.execute("PRAGMA cache_size=-2048")

mcp = FastMCP("bench")


def check_digit(digits: str) -> bool:
    if len(digits) == 9:
        rest = sum(int(d) * w for d, w in zip(digits, (7, 9, 8, 6, 5, 4, 3, 2))) % 11
        return int(digits[8]) == (2 if rest == 0 else 1 if rest == 1 else 11 - rest)
    total = 0
    for at, d in enumerate(digits[:10]):
        product = int(d) * (1 + at % 2)
        total += product - 9 if product > 9 else product
    return int(digits[10]) == -total % 10


@mcp.tool(annotations=ToolAnnotations(readOnlyHint=True))
async def consultar_rnc_dgii(rnc: str) -> dict:
    """Busca un RNC o una cédula en el listado de la DGII."""
    digits = "".join(c for c in rnc if c.isdigit())
    if len(digits) not in (9, 11):
        raise ValueError("no es un RNC ni una cédula")
    is_rnc = len(digits) == 9
    row = db.execute(QUERY, (int(digits) * 2 + (not is_rnc),)).fetchone()
    pretty = f"{digits[0]}-{digits[1:3]}-{digits[3:8]}-{digits[8]}" if is_rnc else f"{digits[:3]}-{digits[3:10]}-{digits[10]}"
    answer = {
        "encontrado": row is not None,
        "rnc": digits,
        "rnc_formato": pretty,
        "tipo": "rnc" if is_rnc else "cedula",
        "digito_verificador": check_digit(digits),
        "fuente": "Listado de contribuyentes publicado por la DGII",
        "fecha_corte": cutoff,
        "antiguedad_dias": age_days,
    }
    if row is None:
        answer["frase"] = f"El número {pretty} no aparece en el listado de la DGII del {cutoff}."
        return answer
    name, trade, activity, start, status, regime = row
    answer |= {"nombre": name, "estado": status, "activo": status == "ACTIVO"}
    if is_rnc:
        more = {"nombre_comercial": trade, "actividad_economica": activity, "regimen_pago": regime}
        answer |= {key: value for key, value in more.items() if value}
        if start is not None:
            answer["fecha_inicio"] = datetime.date.fromordinal(start).isoformat()
    answer["sugerencia_odoo"] = {"name": name, "vat": digits, "is_company": is_rnc, "country": "DO"}
    answer["frase"] = f"{name}, {pretty}, figura como {status} en el listado de la DGII del {cutoff}."
    return answer


app = mcp.http_app(path="/mcp", stateless_http=True, json_response=True)
gc.collect()
gc.freeze()
gc.set_threshold(100_000, 50, 50)
uvicorn.run(app, host="127.0.0.1", port=port, loop="uvloop", http="httptools", access_log=False, log_level="error")
