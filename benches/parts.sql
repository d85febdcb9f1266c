-- What parts by month are worth, without the service: the same calls as one table and in parts. Into an empty database:
--   psql URL -v rows=5000000 -f benches/parts.sql
-- docs/scaling.md has what it said. The shapes are those of the migrations; ids are UUIDv7, in the order of time, as the service makes them.
\set ON_ERROR_STOP on
\pset pager off
set timezone = 'UTC';
create table whole (id uuid not null primary key, client_id uuid not null, token_id uuid, tool text not null, agent text, outcome text not null, error_code text, counted boolean not null,
  billing_month integer not null, total_us bigint not null, odoo_us bigint not null, odoo_requests integer not null, request_id text not null, started_at timestamptz not null);
create function uuid7(at timestamptz) returns uuid language sql volatile as
  $$ select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7' || substr(md5(random()::text), 1, 3) || '8' || substr(md5(random()::text), 1, 15))::uuid $$;
create table numbered as select k, gen_random_uuid() as id, gen_random_uuid() as token from generate_series(0, 1999) k;
create unique index on numbered (k);
insert into whole select uuid7(at), c.id, c.token,
  (array['consultar_rnc_dgii','buscar_contribuyente','buscar_cliente','crear_cliente','buscar_productos','crear_cotizacion','ver_cotizacion','odoo_contexto'])[1 + n * 7 % 8],
  'Claude ' || n % 5, case when n % 29 = 0 then 'error' when n % 53 = 0 then 'refused' else 'ok' end, case when n % 29 = 0 then 'no_encontrado' when n % 53 = 0 then 'limite_de_llamadas' end,
  n % 53 <> 0, to_char(at - interval '4 hours', 'YYYYMM')::integer, 500 + n % 900000, case when n % 3 = 0 then 0 else 400 + n % 800000 end, case when n % 3 = 0 then 0 else 1 end,
  uuid7(at)::text, at
from (select n, '2026-11-28T19:00:00Z'::timestamptz - interval '400 days' * (1 - n::float8 / :rows) as at, floor(2000 * power(random(), 3))::integer as c
      from generate_series(1::bigint, :rows) n) g join numbered c on c.k = g.c order by n;
create index whole_month on whole (client_id, billing_month);
create index whole_started on whole (client_id, started_at);
create index whole_time on whole (started_at, id);
create index whole_errors on whole (started_at, id) where outcome = 'error';
create index whole_client_errors on whole (client_id, started_at, id) where outcome = 'error';
create table tool_usage (like whole including defaults, primary key (id, started_at)) partition by range (started_at);
create index on tool_usage (client_id, billing_month);
create index on tool_usage (client_id, started_at);
create index on tool_usage (started_at, id);
create index on tool_usage (started_at, id) where outcome = 'error';
create index on tool_usage (client_id, started_at, id) where outcome = 'error';
do $$ declare m timestamptz := '2025-10-01T04:00:00Z'; begin
  while m < '2027-02-01' loop
    execute format('create table %I (like tool_usage including all)', 'tool_usage_' || to_char(m, 'YYYYMM'));
    execute format('alter table tool_usage attach partition %I for values from (%L) to (%L)', 'tool_usage_' || to_char(m, 'YYYYMM'), m, m + interval '1 month');
    m := m + interval '1 month';
  end loop; end $$;
\timing on
\echo === every row copied into its month
insert into tool_usage select * from whole;
vacuum analyze tool_usage, whole;

\echo === bytes of a call: as one table with indices made at once, in a part with indices grown by inserts, and there by index
select pg_relation_size('whole')::float8 / :rows as heap, pg_indexes_size('whole')::float8 / :rows as indices;
select pg_relation_size('tool_usage_202610') / count(*)::float8 as heap, pg_indexes_size('tool_usage_202610') / count(*)::float8 as indices from tool_usage_202610;
select indexrelname, pg_relation_size(indexrelid) / (select count(*) from tool_usage_202610)::float8 as bytes from pg_stat_user_indexes where relname = 'tool_usage_202610';

\echo === bytes of the write-ahead log for 12800 calls
create table few as select *, row_number() over () as n from (select * from whole order by id desc limit 12800) f;
explain (analyze, wal, costs off, timing off) insert into tool_usage
  select uuid7(at), client_id, token_id, tool, agent, outcome, error_code, counted, 202612, total_us, odoo_us, odoo_requests, request_id, at
  from (select *, '2026-12-05T00:00:00Z'::timestamptz + n * interval '1 second' as at from few order by n) f;

\echo === what pages ask, as generic plans
select id as busy from numbered where k = 0 \gset
set plan_cache_mode = force_generic_plan;
prepare w_log_all(bigint) as select id, client_id, tool from whole where 1 = 1 order by started_at desc, id desc limit $1;
prepare w_log_client(uuid, bigint) as select id, client_id, tool from whole where 1 = 1 and client_id = $1 order by started_at desc, id desc limit $2;
prepare w_log_key(timestamptz, timestamptz, uuid, bigint) as select id, client_id, tool from whole where 1=1 and started_at <= $1 and (started_at, id) < ($2,$3) order by started_at desc, id desc limit $4;
prepare w_log_cerr(uuid,bigint) as select id, client_id, tool from whole where 1 = 1 and client_id=$1 and outcome = 'error' order by started_at desc, id desc limit $2;
prepare w_month_count(uuid, int, timestamptz, timestamptz) as select count(*) from whole where client_id = $1 and billing_month = $2 and started_at >= $3 and started_at < $4 and counted = true;
prepare w_hours(uuid, timestamptz, bigint) as select tool, started_at from whole where client_id=$1 and started_at > $2 and outcome <> 'refused' order by started_at desc limit $3;
prepare w_agents(uuid, bigint) as select agent, count(*) as calls, max(started_at) as last_at from (select agent, outcome, started_at from whole where client_id = $1 order by started_at desc limit $2) latest group by agent order by 3 desc;
prepare p_log_all(bigint) as select id, client_id, tool from tool_usage where 1 = 1 order by started_at desc, id desc limit $1;
prepare p_log_client(uuid, bigint) as select id, client_id, tool from tool_usage where 1 = 1 and client_id = $1 order by started_at desc, id desc limit $2;
prepare p_log_key(timestamptz, timestamptz, uuid, bigint) as select id, client_id, tool from tool_usage where 1=1 and started_at <= $1 and (started_at, id) < ($2,$3) order by started_at desc, id desc limit $4;
prepare p_log_cerr(uuid,bigint) as select id, client_id, tool from tool_usage where 1 = 1 and client_id=$1 and outcome = 'error' order by started_at desc, id desc limit $2;
prepare p_month_count(uuid, int, timestamptz, timestamptz) as select count(*) from tool_usage where client_id = $1 and billing_month = $2 and started_at >= $3 and started_at < $4 and counted = true;
prepare p_hours(uuid, timestamptz, bigint) as select tool, started_at from tool_usage where client_id=$1 and started_at > $2 and outcome <> 'refused' order by started_at desc limit $3;
prepare p_agents(uuid, bigint) as select agent, count(*) as calls, max(started_at) as last_at from (select agent, outcome, started_at from tool_usage where client_id = $1 order by started_at desc limit $2) latest group by agent order by 3 desc;
explain (analyze, costs off, timing off) execute w_log_all(101);
explain (analyze, costs off, timing off) execute p_log_all(101);
explain (analyze, costs off, timing off) execute w_log_client(:'busy', 101);
explain (analyze, costs off, timing off) execute p_log_client(:'busy', 101);
explain (analyze, costs off, timing off) execute w_log_key('2026-03-05T00:00:00Z', '2026-03-05T00:00:00Z', '00000000-0000-0000-0000-000000000000', 101);
explain (analyze, costs off, timing off) execute p_log_key('2026-03-05T00:00:00Z', '2026-03-05T00:00:00Z', '00000000-0000-0000-0000-000000000000', 101);
explain (analyze, costs off, timing off) execute w_log_cerr(:'busy', 101);
explain (analyze, costs off, timing off) execute p_log_cerr(:'busy', 101);
explain (analyze, costs off, timing off) execute w_month_count(:'busy', 202611, '2026-11-01T04:00:00Z', '2026-12-01T04:00:00Z');
explain (analyze, costs off, timing off) execute p_month_count(:'busy', 202611, '2026-11-01T04:00:00Z', '2026-12-01T04:00:00Z');
explain (analyze, costs off, timing off) execute w_hours(:'busy', '2026-11-28T18:00:00Z', 20000);
explain (analyze, costs off, timing off) execute p_hours(:'busy', '2026-11-28T18:00:00Z', 20000);
explain (analyze, costs off, timing off) execute w_agents(:'busy', 5000);
explain (analyze, costs off, timing off) execute p_agents(:'busy', 5000);

\echo === old calls go: a part, and rows of one table
drop table tool_usage_202601;
select count(*) from whole where started_at < '2025-12-01T04:00:00Z';
do $$ declare n integer; begin loop
  delete from whole where id in (select id from whole where started_at < '2025-12-01T04:00:00Z' order by started_at, id limit 2000);
  get diagnostics n = row_count;
  exit when n = 0;
end loop; end $$;
vacuum whole;

\echo === the whole table becomes a part: its new key, and the look at every row
create table parted (like whole including defaults, primary key (id, started_at)) partition by range (started_at);
create unique index whole_new on whole (id, started_at);
alter table whole drop constraint whole_pkey;
alter table whole add primary key using index whole_new;
alter table parted attach partition whole for values from (minvalue) to ('2026-12-01T04:00:00Z');
