"""The page of a server in a real browser: page.py URL PICTURE FOLDER. Screenshots go to FOLDER. Ends with 0 where all is well."""
import json
import os
import sys

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

URL, PICTURE, FOLDER = sys.argv[1:]
# Where the two cats of the demo's meadow are, in its pixels, by eye.
CATS = [(281, 279, 353, 361), (470, 230, 545, 315)]
SECONDS = 60


def start(width, height):
    options = webdriver.ChromeOptions()
    for argument in ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                     f"--window-size={width},{height}", f"--user-data-dir={FOLDER}/profile{width}"]:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    # The window's frame is not the page's.
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500})
    browser.get(URL)
    return browser


def check(holds, what):
    if not holds:
        sys.exit(f"page.py: {what}")


def overlap(a, b):
    """Intersection over union."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    area = lambda box: (box[2] - box[0]) * (box[3] - box[1])
    return both / (area(a) + area(b) - both)


class Page:
    def __init__(self, browser):
        self.browser = browser

    def get(self, name):
        return self.browser.find_element(By.ID, name)

    def ask(self, task, text=None):
        before = self.get("times").text
        Select(self.get("task")).select_by_value(task)
        if text is not None:
            self.get("text").clear()
            self.get("text").send_keys(text)
        self.browser.execute_script("document.getElementById('times').textContent = ''")
        self.get("go").click()
        done = lambda _: self.get("times").text or self.get("trouble").text
        WebDriverWait(self.browser, SECONDS).until(done)
        return self.get("answer").text

    def drawn(self):
        """The boxes on the screen, in the picture's own pixels."""
        return self.browser.execute_script("""
            const image = document.getElementById('picture'), place = image.getBoundingClientRect();
            const scale = Math.min(place.width / image.naturalWidth, place.height / image.naturalHeight);
            const left = place.left + (place.width - image.naturalWidth * scale) / 2;
            const top = place.top + (place.height - image.naturalHeight * scale) / 2;
            return [...document.querySelectorAll('#overlay rect')].map((each) => {
              const box = each.getBoundingClientRect();
              return [(box.left - left) / scale, (box.top - top) / scale, (box.right - left) / scale, (box.bottom - top) / scale];
            });""")

    def wide(self):
        return self.browser.execute_script("return document.documentElement.scrollWidth")

    def shot(self, name):
        self.browser.save_screenshot(os.path.join(FOLDER, name + ".png"))


def try_size(name, width, height):
    browser = start(width, height)
    page = Page(browser)
    page.get("go").click()
    check("Choose a picture first" in page.get("trouble").text, "nothing was said without a picture")
    page.get("file").send_keys(PICTURE)
    WebDriverWait(browser, SECONDS).until(lambda _: "Ready" in page.get("answer").text)

    answer = page.ask("caption")
    check("cat" in answer and "meadow" in answer, f"the caption is '{answer}'")
    check("tokens a second" in page.get("times").text, "no times")

    page.ask("detect", "cat")
    boxes = sorted(page.drawn())
    check(len(boxes) == len(CATS), f"{len(boxes)} boxes: {boxes}")
    for box, cat in zip(boxes, CATS):
        check(overlap(box, cat) > 0.8, f"{name}: a box at {box}, not {cat}")
    check(len(browser.find_elements(By.CSS_SELECTOR, "#found button")) == len(CATS), "the list of what was found")
    page.shot(name)

    answer = page.ask("answer", "where is the tree?")
    check(answer not in ("", "(nothing)"), "no answer to a question")
    check(page.drawn() == [], "old boxes stay")
    check(page.wide() <= width, f"{name}: the page is {page.wide()} wide")
    check("replicas ready" in page.get("state").text, "no state of the server")
    check("curl -N " + URL.rstrip("/") in page.get("curl").get_attribute("textContent"), "no curl")

    # By keyboard alone, from the text on.
    page.get("text").clear()
    page.get("text").send_keys("how many balloons are there?", Keys.ENTER)
    WebDriverWait(browser, SECONDS).until(lambda _: len(browser.find_elements(By.CSS_SELECTOR, "#history li")) == 4)

    # What the server refuses is said as it says it.
    Select(page.get("task")).select_by_value("free")
    browser.execute_script("document.getElementById('text').removeAttribute('maxlength');"
                           "document.getElementById('text').value = 'word '.repeat(5000)")
    page.get("go").click()
    WebDriverWait(browser, SECONDS).until(lambda _: page.get("trouble").text)
    check("tokens" in page.get("trouble").text or "bytes" in page.get("trouble").text, page.get("trouble").text)

    # Every field has a name, every picture a text.
    nameless = browser.execute_script("""
        return [...document.querySelectorAll('input, select, button, img')].filter((each) =>
          !(each.labels && each.labels.length) && !each.textContent.trim() && !each.alt && !each.getAttribute('aria-label'))
          .map((each) => each.outerHTML)""")
    check(nameless == [], f"without a name: {nameless}")
    told = [line["message"] for line in browser.get_log("browser") if "400 (Bad Request)" not in line["message"]]
    check(told == [], f"the browser complains: {json.dumps(told)}")
    browser.quit()


try_size("desktop", 1280, 900)
try_size("phone", 360, 740)
print("the page works on desktop and phone")
