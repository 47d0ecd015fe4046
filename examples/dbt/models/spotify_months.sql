select
    cast({{ dbt.date_trunc('month', 'release_date') }} as date) as month,
    count(*) as episodes,
    round(sum(minutes) / 60, 1) as hours,
    round(avg(minutes), 1) as average_minutes
from {{ ref('spotify_episodes') }}
where release_date is not null
group by 1
