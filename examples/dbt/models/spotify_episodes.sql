select
    id,
    name,
    description,
    release_date,
    duration_ms,
    round(duration_ms / 60000.0, 1) as minutes,
    language,
    -- SQLite stores booleans as 0 and 1.
    cast(explicit as boolean) as explicit,
    {{ dbt.concat(["'https://open.spotify.com/episode/'", "id"]) }} as link
from {{ source('spotify', 'episodes') }}
