package effect

import (
	"slices"
	"strings"
)

// pure reports whether a name before a bracket stands for something that neither reads nor writes a table: a function of its
// arguments, a clock, a source of random or new numbers, a type, or a keyword. Other functions may do anything.
func pure(name string) bool {
	_, found := slices.BinarySearch(pureNames, name)
	return found
}

var pureNames = func() []string {
	names := strings.Fields(`
	abs all and any array array_agg array_append array_length array_position array_remove array_to_string as avg between bigint bit
	bit_and bit_or bool_and bool_or btrim by case cast ceil ceiling char char_length character_length check clock_timestamp
	coalesce concat concat_ws conflict connection_id convert count cross cume_dist curdate current_date current_time
	current_timestamp currval curtime date date_add date_format date_part date_sub date_trunc datediff datetime dateadd day decimal decode
	default delete dense_rank distinct div double else elt encode end except exists exp extract false filter first_value float floor
	format from gen_random_uuid generate_series greatest group group_concat grouping having hex hour id if ifnull iif in index inet
	insert instr int integer intersect interval into is isnull join json json_agg json_array json_arrayagg json_build_array
	json_build_object json_each json_extract json_group_array json_object json_objectagg json_set json_type json_unquote jsonb
	jsonb_agg jsonb_array_elements jsonb_array_elements_text jsonb_build_object jsonb_each jsonb_set julianday key lag
	last_insert_id last_insert_rowid lateral lead least left length like limit ln localtime localtimestamp locate log lower
	lpad ltrim make_interval max md5 microsecond mid min minute mod month nextval not now nth_value ntile nullif numeric octet_length
	offset on only or order over overlay partition percent_rank percentile_cont position pow power primary quote quote_ident quote_literal
	random rand rank real regexp_replace repeat replace returning reverse right round row row_number row_to_json rowid rpad rtrim
	rows second select set set_config sha1 sha2 sign some split_part sqlite_version sqrt stddev str_to_date strftime string_agg
	strpos substr substring subtime sum sysdate temp text then time timestamp timestampadd timestampdiff timestamptz timeofday to_char
	to_date to_json to_jsonb to_number to_timestamp total trim trunc truncate typeof unhex unicode union unique unix_timestamp
	unixepoch unnest upper using utc_timestamp uuid uuid_generate_v4 uuidv4 uuidv7 values varchar variance version weekday when
	where width_bucket window with year`)
	slices.Sort(names)
	return slices.Compact(names)
}()
