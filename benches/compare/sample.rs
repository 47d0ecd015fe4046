//! Shows and episodes with the size and the fields of Spotify's: Portuguese descriptions of about 1.5 kB
//! with accents, no-break spaces and line breaks, also as HTML, and the fields that the service ignores.

use serde_json::{Value, json};

const SENTENCES: [&str; 12] = [
    "Neste episódio conversamos sobre como uma equipe de dados nasce, cresce e aprende a dizer não.",
    "A convidada conta sua trajetória da estatística à engenharia, e o que faria diferente hoje.",
    "Falamos de governança, de contratos entre produtores e consumidores e de quem paga a conta.",
    "Como medir o valor de um modelo quando ninguém concorda sobre a pergunta que ele responde?",
    "Há também uma seção de dúvidas dos ouvintes, com histórias reais de migrações que deram errado.",
    "Discutimos ferramentas abertas, salários, comunidade e o mercado de tecnologia no Brasil.",
    "No fim, indicações de livros, artigos e vídeos: os links estão na descrição do episódio.",
    "Aperte o play e venha entender por que \"tempo real\" quase nunca é o que se precisa de verdade.",
    "Edição: estúdio da casa. Roteiro: a própria equipe. Música: domínio público, com alterações.",
    "Participe da pesquisa anual: são dez minutos, e os resultados ficam abertos para todo mundo.",
    "Conheça as vagas abertas das empresas parceiras e conte que veio pelo podcast. 🎧📊",
    "Acompanhe a gente nas redes: toda semana tem conversa nova, e às quintas um resumo de notícias.",
];

/// The number of results of each search.
pub const SHOWS: usize = 340;

/// Returns an ID with the length of Spotify's.
pub fn id(n: usize) -> String {
    format!("{n:022}")
}

/// Returns an episode. Every tenth mentions the sponsor.
pub fn episode(n: usize) -> Value {
    let mut text = String::new();
    for step in 0..14 {
        text.push_str(SENTENCES[(n * 7 + step * 5 + step * step) % SENTENCES.len()]);
        text.push_str(["\u{a0}", " ", "\n", " "][(n + step) % 4]);
    }
    if n.is_multiple_of(10) {
        text.push_str("Apoio: Grupo Boticário.");
    }
    let id = id(n);
    json!({
        "audio_preview_url": format!("https://podz-content.spotifycdn.com/audio/clips/{id}/clip_324000_384000.mp3"),
        "description": text,
        "html_description": format!("<p>{}</p>", text.replace('\n', "</p><p>")),
        "duration_ms": 2_400_000 + n,
        "explicit": n.is_multiple_of(9),
        "external_urls": { "spotify": format!("https://open.spotify.com/episode/{id}") },
        "href": format!("https://api.spotify.com/v1/episodes/{id}"),
        "id": id,
        "images": images(n),
        "is_externally_hosted": false,
        "is_playable": true,
        "language": "pt-BR",
        "languages": ["pt-BR"],
        "name": format!("Data\u{a0}Hackers #{n}: como uma equipe de dados aprende a dizer não"),
        "release_date": format!("20{:02}-{:02}-{:02}", 18 + n % 8, n % 12 + 1, n % 28 + 1),
        "release_date_precision": "day",
        "type": "episode",
        "uri": format!("spotify:episode:{id}"),
    })
}

pub fn show(id: &str, n: usize) -> Value {
    let text = [SENTENCES[n % 12], SENTENCES[(n + 5) % 12], SENTENCES[(n + 7) % 12]].join("\n");
    json!({
        "copyrights": [], "description": text, "html_description": format!("<p>{text}</p>"),
        "explicit": false, "external_urls": { "spotify": format!("https://open.spotify.com/show/{id}") },
        "href": format!("https://api.spotify.com/v1/shows/{id}"), "id": id, "images": images(n),
        "is_externally_hosted": false, "languages": ["pt-BR"], "media_type": "audio",
        "name": format!("Podcast {n}"), "total_episodes": n, "type": "show",
        "uri": format!("spotify:show:{id}"),
    })
}

pub fn page(total: usize, offset: usize, limit: usize, item: impl Fn(usize) -> Value) -> Value {
    let items: Vec<Value> = (offset..total.min(offset + limit)).map(item).collect();
    let more = offset + items.len() < total;
    json!({
        "href": "https://api.spotify.com/v1/", "items": items, "limit": limit, "offset": offset,
        "total": total, "previous": null,
        "next": more.then(|| format!("https://api.spotify.com/v1/?offset={}", offset + limit)),
    })
}

fn images(n: usize) -> Value {
    let image = |size: usize| json!({ "height": size, "width": size, "url": format!("https://i.scdn.co/image/ab6765630000{n:032x}") });
    json!([image(640), image(300), image(64)])
}
