// Times prefill and decode in llama.cpp, through node-llama-cpp, each as one JSON line on standard output.
//
// usage: node llama_phases.mjs PACKAGES MODEL.gguf PHASE... [--batch 1] [--prompt 512] [--completion 64]
//                              [--threads 2] [--repetitions 1]
//
// PACKAGES is the folder that holds node_modules. `prefill` is the prompt in one sequence; `decode` is COMPLETION
// sampled tokens for each of BATCH sequences, computed together, after a prompt that is not timed. Each phase is run
// once untimed and then REPETITIONS times. The weights are what the file holds, so their type is in its name.

import path from "node:path";
import process from "node:process";
import {pathToFileURL} from "node:url";
import {parseArgs} from "node:util";

const number = (text) => ({type: "string", default: text});
const {values, positionals} = parseArgs({
    allowPositionals: true,
    options: {
        batch: number("1"),
        prompt: number("512"),
        completion: number("64"),
        threads: number("2"),
        repetitions: number("1"),
    },
});
const [packages, modelPath, ...phases] = positionals;
const known = ["prefill", "decode"];
if (phases.length === 0 || phases.some((phase) => !known.includes(phase))) {
    console.error("usage: llama_phases.mjs PACKAGES MODEL.gguf prefill|decode... (see the head of this file)");
    process.exit(2);
}
const [batch, prompt, completion, threads, repetitions] =
    [values.batch, values.prompt, values.completion, values.threads, values.repetitions].map(Number);

let library;
try {
    const entry = path.join(path.resolve(packages), "node_modules/node-llama-cpp/dist/index.js");
    library = await import(pathToFileURL(entry).href);
} catch (error) {
    console.error(`node-llama-cpp is missing under ${packages}: ${error.message}`);
    process.exit(1);
}

const llama = await library.getLlama({gpu: false, build: "never", maxThreads: threads, progressLogs: false});
const model = await llama.loadModel({modelPath, gpuLayers: 0});
const isDecode = phases.includes("decode");
const context = await model.createContext({
    sequences: isDecode ? batch : 1,
    contextSize: prompt + completion + 1,
    batchSize: Math.max(512, batch),
    threads,
});
const sequences = Array.from({length: isDecode ? batch : 1}, () => context.getSequence());
// Any tokens will do; the first ids of the vocabulary are special and left out.
const tokens = (idx) => Array.from({length: prompt}, (_, at) => 100 + ((at * 7919 + idx * 104729) % 40000));

async function clear() {
    for (const sequence of sequences) await sequence.clearHistory();
}

async function prefill(which) {
    await Promise.all(which.map((sequence, idx) =>
        sequence.evaluateWithoutGeneratingNewTokens(tokens(idx).slice(0, -1))));
}

async function sample(sequence, idx) {
    let nTokens = 0;
    // An end of text is one more token here: the work must be the same in every repetition.
    for await (const token of sequence.evaluate([tokens(idx).at(-1)], {temperature: 1, seed: 7, yieldEogToken: true})) {
        nTokens += token === null ? 0 : 1;
        if (nTokens === completion) break;
    }
    if (nTokens !== completion) throw new Error(`a sequence ended after ${nTokens} tokens`);
}

for (const phase of phases) {
    const seconds = [];
    for (let repetition = 0; repetition <= repetitions; repetition += 1) {
        await clear();
        if (phase === "decode") await prefill(sequences);
        const start = performance.now();
        if (phase === "decode") await Promise.all(sequences.map(sample));
        else await prefill([sequences[0]]);
        seconds.push((performance.now() - start) / 1000);
    }
    const timed = seconds.slice(1);
    const nTokens = phase === "decode" ? batch * completion : prompt - 1;
    console.log(JSON.stringify({
        peer: "llama.cpp",
        version: llama.llamaCppRelease.release,
        phase,
        precision: path.basename(modelPath, ".gguf").split(/[.-]/).at(-1).toLowerCase(),
        threads,
        batch: phase === "decode" ? batch : 1,
        prompt,
        completion: phase === "decode" ? completion : 0,
        seconds: timed,
        tokens_per_s: nTokens / timed.toSorted((a, b) => a - b)[Math.floor(timed.length / 2)],
        peak_rss_bytes: process.resourceUsage().maxRSS * 1024,
    }));
}
process.exit(0);
