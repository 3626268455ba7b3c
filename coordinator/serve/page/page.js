'use strict';

const by = (id) => document.getElementById(id);
const kColours = ['#d5382c', '#1f77b4', '#2c8a3d', '#9157c7', '#b8630a', '#0e8f8f', '#c2398c', '#6b6b00'];
const kSvg = 'http://www.w3.org/2000/svg';
let picture = null;  // {url, type, name}
let asking = null;   // the AbortController of the request that runs

// ---- the picture

function takePicture(file) {
  if (!file || !file.type.startsWith('image/')) return say('That is no picture.');
  const reader = new FileReader();
  reader.onload = () => {
    picture = {url: reader.result, type: file.type, name: file.name || 'picture'};
    by('picture').src = picture.url;
    by('stage').hidden = false;
    say('');
    showFound([]);
    by('answer').textContent = 'Ready to ask.';
    by('times').textContent = '';
  };
  reader.onerror = () => say('The picture cannot be read.');
  reader.readAsDataURL(file);
}

by('file').addEventListener('change', (event) => takePicture(event.target.files[0]));
for (const name of ['dragover', 'dragleave', 'drop'])
  document.addEventListener(name, (event) => {
    event.preventDefault();
    by('drop').classList.toggle('over', name === 'dragover');
    if (name === 'drop') takePicture(event.dataTransfer.files[0]);
  });
document.addEventListener('paste', (event) => {
  const file = [...event.clipboardData.files].find((each) => each.type.startsWith('image/'));
  if (file) takePicture(file);
});

// ---- the question

const kTexts = {detect: 'Things, with ; between', segment: 'Thing', answer: 'Question', free: 'Prompt'};

function showFields() {
  const task = by('task').value;
  by('language-field').hidden = !['caption', 'answer'].includes(task);
  by('text-field').hidden = !(task in kTexts);
  by('text-label').textContent = kTexts[task] || '';
}
by('task').addEventListener('change', showFields);
showFields();

function prompt() {
  const task = by('task').value, text = by('text').value.trim(), language = by('language').value.trim() || 'en';
  if (task in kTexts && text === '') return null;
  if (task === 'caption') return 'caption ' + language;
  if (task === 'answer') return 'answer ' + language + ' ' + text;
  if (task === 'ocr') return 'ocr';
  return task === 'free' ? text : task + ' ' + text;
}

function bodyOf(text, url) {
  return {
    stream: true,
    stream_options: {include_usage: true},
    max_tokens: 128,
    messages: [{role: 'user', content: [{type: 'image_url', image_url: {url}}, {type: 'text', text}]}],
  };
}

by('form').addEventListener('submit', (event) => {
  event.preventDefault();
  const text = prompt();
  if (!picture) return say('Choose a picture first.');
  if (text === null) {
    say('Write what to look for.');
    return by('text').focus();
  }
  ask(text);
});
by('stop').addEventListener('click', () => asking && asking.abort());

function headers() {
  const key = sessionStorage.getItem('key') || by('key').value;
  const all = {'content-type': 'application/json'};
  if (key) all.authorization = 'Bearer ' + key;
  return all;
}
by('key').addEventListener('change', () => sessionStorage.setItem('key', by('key').value));

async function ask(text) {
  if (asking) asking.abort();
  const run = asking = new AbortController();
  const began = performance.now();
  const heard = {text: '', first: 0, tokens: 0, found: []};
  say('');
  showFound([]);
  by('answer').textContent = '…';
  by('times').textContent = '';
  by('go').disabled = true;
  by('stop').hidden = false;
  showCurl(text);
  try {
    const response = await fetch('/v1/chat/completions', {
      method: 'POST', headers: headers(), body: JSON.stringify(bodyOf(text, picture.url)), signal: run.signal,
    });
    if (!response.ok) throw new Error(await sentenceOf(response));
    await readEvents(response, (event) => take(event, heard, began));
    finish(text, heard, began);
  } catch (error) {
    if (error.name === 'AbortError') by('answer').textContent = heard.text + ' (stopped)';
    else say(error.message);
    if (error.name !== 'AbortError' && heard.text === '') by('answer').textContent = '';
  } finally {
    if (asking === run) asking = null;
    by('go').disabled = false;
    by('stop').hidden = true;
  }
}

async function sentenceOf(response) {
  if (response.status === 401) {
    by('key-field').hidden = false;
    by('key').focus();
  }
  try {
    return (await response.json()).error.message;
  } catch {
    return 'The server answered ' + response.status + '.';
  }
}

/** Calls `take` with the data of each server-sent event. */
async function readEvents(response, take) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    rest += value;
    let end;
    while ((end = rest.indexOf('\n\n')) >= 0) {
      const event = rest.slice(0, end);
      rest = rest.slice(end + 2);
      if (!event.startsWith('data: ')) continue;
      if (event === 'data: [DONE]') return;
      take(JSON.parse(event.slice(6)));
    }
  }
}

function take(event, heard, began) {
  if (event.error) throw new Error(event.error.message);
  if (event.usage) heard.tokens = event.usage.completion_tokens;
  for (const choice of event.choices) {
    if (!heard.first) heard.first = performance.now() - began;
    heard.text += choice.delta.content || '';
    if (choice.delta.detections) heard.found = choice.delta.detections;
  }
  by('answer').textContent = heard.text || '…';
}

function finish(text, heard, began) {
  const all = performance.now() - began;
  const rate = heard.tokens > 1 ? (heard.tokens - 1) / (all - heard.first) * 1000 : 0;
  by('answer').textContent = heard.text || '(nothing)';
  by('announce').textContent = 'Answer: ' + (heard.text.replace(/<(loc|seg)\d+>/g, '') || 'nothing');
  by('times').textContent = 'First token after ' + heard.first.toFixed(0) + ' ms, all after ' + all.toFixed(0) + ' ms' +
      (rate ? ', ' + rate.toFixed(0) + ' tokens a second' : '');
  showFound(heard.found);
  const line = document.createElement('li');
  line.textContent = text + ' → ' + (heard.text || '(nothing)');
  by('history').prepend(line);
  while (by('history').children.length > 8) by('history').lastChild.remove();
  by('history-box').hidden = false;
}

function say(sentence) { by('trouble').textContent = sentence; }

// ---- what was found

/** Where the picture is drawn within its element. */
function placeOverlay() {
  const image = by('picture'), overlay = by('overlay');
  const scale = Math.min(image.clientWidth / image.naturalWidth, image.clientHeight / image.naturalHeight) || 0;
  const width = image.naturalWidth * scale, height = image.naturalHeight * scale;
  overlay.style.left = image.offsetLeft + (image.clientWidth - width) / 2 + 'px';
  overlay.style.top = image.offsetTop + (image.clientHeight - height) / 2 + 'px';
  overlay.style.width = width + 'px';
  overlay.style.height = height + 'px';
}
by('picture').addEventListener('load', placeOverlay);
window.addEventListener('resize', placeOverlay);

function shape(name, attributes) {
  const made = document.createElementNS(kSvg, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  by('overlay').append(made);
  return made;
}

function showFound(found) {
  const overlay = by('overlay'), list = by('found');
  overlay.replaceChildren();
  list.replaceChildren();
  overlay.setAttribute('viewBox', '0 0 1 1');
  overlay.setAttribute('preserveAspectRatio', 'none');
  placeOverlay();
  const image = by('picture');
  found.forEach((thing, i) => {
    const colour = kColours[i % kColours.length];
    const [left, top, right, bottom] = thing.box_normalized;
    const shapes = [shape('rect', {x: left, y: top, width: right - left, height: bottom - top, stroke: colour})];
    for (const ring of (thing.mask && thing.mask.polygon) || []) {
      const points = [];
      for (let at = 0; at < ring.length; at += 2)
        points.push(ring[at] / image.naturalWidth + ',' + ring[at + 1] / image.naturalHeight);
      shapes.push(shape('polygon', {points: points.join(' '), stroke: colour, fill: colour}));
    }
    const item = document.createElement('li'), button = document.createElement('button');
    button.type = 'button';
    button.style.borderColor = colour;
    button.textContent = (thing.label || 'thing') + ' ' + thing.box.map((side) => Math.round(side)).join(', ');
    const mark = (strong) => shapes.forEach((each) => each.classList.toggle('strong', strong));
    for (const name of ['mouseenter', 'focus']) button.addEventListener(name, () => mark(true));
    for (const name of ['mouseleave', 'blur']) button.addEventListener(name, () => mark(false));
    item.append(button);
    list.append(item);
  });
}

// ---- the same by curl

function showCurl(text) {
  const body = JSON.stringify(bodyOf(text, 'data:' + picture.type + ';base64,IMAGE')).replaceAll("'", "'\\''");
  const [before, after] = body.split('IMAGE');
  by('curl').textContent = "IMAGE=$(base64 -w0 " + "'" + picture.name.replaceAll("'", "'\\''") + "')\n" +
      "printf '%s' '" + before + "'\"$IMAGE\"'" + after + "' |\n" +
      "  curl -N " + location.origin + "/v1/chat/completions -H 'content-type: application/json' -d @-" +
      (headers().authorization ? " -H \"Authorization: Bearer $API_KEY\"" : '');
  by('curl-box').hidden = false;
}
by('copy').addEventListener('click', async () => {
  await navigator.clipboard.writeText(by('curl').textContent);
  by('copy').textContent = 'Copied';
  setTimeout(() => { by('copy').textContent = 'Copy'; }, 2000);
});

// ---- the server

function cell(text, tag = 'td') {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

async function look() {
  try {
    const response = await fetch('/cluster', {headers: headers()});
    if (!response.ok) throw new Error(await sentenceOf(response));
    const cluster = await response.json();
    by('model').textContent = cluster.model;
    const ready = cluster.replicas.filter((each) => each.state === 'ready').length;
    by('state').textContent = ready + ' of ' + cluster.replicas.length + ' replicas ready, ' + cluster.queued + ' requests wait';
    const rows = by('replicas').tBodies[0];
    rows.replaceChildren(...cluster.replicas.map((each) => {
      const row = document.createElement('tr');
      row.append(cell(each.id, 'th'), cell(each.state), cell(each.running), cell(each.kv_pages.used + ' of ' + each.kv_pages.total));
      row.firstChild.scope = 'row';
      return row;
    }));
    by('replicas').hidden = false;
  } catch (error) {
    by('state').textContent = error instanceof TypeError ? 'The server does not answer; trying again.' : error.message;
    by('replicas').hidden = true;
  }
  setTimeout(look, document.hidden ? 10000 : 1500);
}
look();
