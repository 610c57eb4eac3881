// Keys of a review: digits set the class of the open picture or of the selection, a accepts, x rejects, u takes back the
// last one, n shows the next batch. In an open picture a key also goes on to the next one, and u to the one before.
// FiftyOne loads this file itself; it offers plugins written in Python no keys (1.22.1).
(function () {
  "use strict";
  const URI = "@understudy/review/";
  const ACTS = { a: "accept", x: "reject", u: "take_back", n: "next_batch" };
  const TURNS = { set_class: "right", accept: "right", reject: "right", take_back: "left" };
  const LONGEST = 15000; // milliseconds until a server that does not answer is asked again
  const AGAIN = 3000; // until the App is asked once more to turn over: it forgets it while it loads
  const LAYOUT = "fo-sample-modal-plugins"; // where the App keeps how panels lie beside an open picture (1.22.1)
  const OURS = "understudy-modal"; // the same of reviews: a blind audit at the same address must not have it
  const side = (type, pinned) => ({
    id: type + "-side", type: "panel-container", activeChild: type, children: [{ id: type, type, pinned, children: [] }],
  });
  const BESIDE = {
    id: "root", type: "panel-container", layout: "horizontal", sizes: [0.62, 0.38],
    children: [side("fo-sample-modal-plugin", true), side("understudy_review", false)],
  };
  let arranged = null; // whether it is a review that the layout was last set for
  let running = null; // what a key acts on now: an open picture's id, or "selection"
  let next = null; // what u or n asked for while the grid was busy: neither means a selection
  let stale = false; // whether the pictures beneath the open one show what was said of them

  const isReview = () => /\/datasets\/understudy-r[^/]*$/.test(window.location.pathname);
  const isText = (at) => at && (at.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName));
  const opened = () => new URLSearchParams(window.location.search).get("id");
  const arrow = (side) => document.querySelector(`[data-cy=modal] [data-cy=nav-${side}-button]`);

  function run(name, params) {
    const sample = opened();
    const mine = (running = sample || "selection");
    const free = () => {
      if (running === mine) running = null;
      const then = next;
      next = null;
      if (then && !opened()) run(then, {});
    };
    const timer = setTimeout(free, LONGEST);
    window.__foo__.executeOperator(URI + name, sample ? { ...params, sample } : params, {
      callback: (result) => {
        clearTimeout(timer);
        const said = result && result.result && result.result.said;
        stale = stale || Boolean(sample && said);
        if (sample && said && TURNS[name]) turn(TURNS[name], sample, free);
        else free();
      },
    });
  }

  // Until the next picture is there, one more key would mean one that nobody has seen: `then` allows it.
  function turn(side, sample, then) {
    const until = Date.now() + LONGEST;
    let asked = 0;
    const watch = setInterval(() => {
      if (opened() !== sample || !arrow(side) || Date.now() > until) {
        clearInterval(watch);
        then();
      } else if (Date.now() - asked > AGAIN) {
        asked = Date.now();
        arrow(side).dispatchEvent(new MouseEvent("click", { bubbles: true })); // an icon, which has no click()
      }
    }, 15);
  }

  // The panel stands beside an open picture too, until a reviewer puts it elsewhere.
  function arrange() {
    const now = localStorage.getItem(LAYOUT);
    if (arranged === isReview()) {
      if (arranged && now) localStorage.setItem(OURS, now);
    } else if ((arranged = isReview())) {
      localStorage.setItem(LAYOUT, localStorage.getItem(OURS) || JSON.stringify(BESIDE));
    } else if (now && now.includes("understudy_review")) {
      localStorage.removeItem(LAYOUT);
    }
  }
  arrange();

  setInterval(() => {
    arrange();
    if (!stale || opened()) return;
    stale = false;
    window.__foo__.executeOperator("@voxel51/operators/reload_samples", {});
  }, 300);

  window.addEventListener("keydown", (event) => {
    if (!isReview() || event.ctrlKey || event.metaKey || event.altKey || event.repeat || isText(event.target)) return;
    const digit = /^[0-9]$/.test(event.key);
    if (!digit && !(event.key in ACTS)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (running === (opened() || "selection")) {
      if (!opened() && (event.key === "u" || event.key === "n")) next = ACTS[event.key];
      return;
    }
    if (digit) run("set_class", { key: event.key });
    else run(ACTS[event.key], {});
  }, true);
})();
