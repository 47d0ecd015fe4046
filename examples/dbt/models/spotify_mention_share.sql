-- Counts episodes that are in both tables, so that a load between the two messages cannot push a share above 1.
select
    cast({{ dbt.date_trunc('month', 'episodes.release_date') }} as date) as month,
    count(*) as episodes,
    count(mentions.id) as mentions,
    round(count(mentions.id) / cast(count(*) as {{ dbt.type_float() }}), 3) as share
from {{ ref('spotify_episodes') }} as episodes
left join {{ source('spotify', 'mentions') }} as mentions
    on episodes.id = mentions.id
where episodes.release_date is not null
group by 1
