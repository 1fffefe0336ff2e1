"""Words that mean two things, in sentences that use them in one sense or the other.

The sentences were written for this course, before any model had read them. Each has its word once, in this very form:
what differs between two sentences is everything but the word.
"""

from __future__ import annotations

from typing import NamedTuple

LECTURE_BARKS = ("The dog's bark woke the neighbours.", "The bark of the old tree is rough.")
"""The lecture's example: what a dog says, and what a tree wears."""


class Usage(NamedTuple):
    """A sentence, the ambiguous word in it, and the sense it has there."""

    word: str
    sense: str
    sentence: str


_SENTENCES = {
    "bark": {
        "of a dog": """
            The dog's bark woke the neighbours.
            A loud bark came from behind the fence.
            We heard the bark of a puppy at the door.
            His bark frightened the postman.
            The hound gave one short bark and ran off.
        """,
        "of a tree": """
            The bark of the old tree is rough.
            Birch has thin white bark that peels in strips.
            Beetles had eaten tunnels under the bark of the pine.
            She carved her name into the bark with a knife.
            The oak lost much of its bark in the storm.
        """,
    },
    "bank": {
        "for money": """
            She opened an account at the bank.
            The bank refused to lend him the money.
            He paid his wages into the bank on Friday.
            The manager of the bank raised the interest rate.
            Robbers broke into the bank and emptied the safe.
        """,
        "of a river": """
            They sat on the grassy bank and watched the river.
            The boat was tied up at the bank of the stream.
            Reeds grow along the muddy bank of the canal.
            The flood washed away the left bank.
            We swam to the other bank and dried in the sun.
        """,
    },
    "bat": {
        "an animal": """
            A bat flew out of the cave at dusk.
            The bat hangs upside down and sleeps all day.
            A bat finds insects in the dark by their echo.
            There is a bat in the attic under the roof.
            The wings of a bat are made of skin.
        """,
        "for a ball": """
            He swung the bat and missed the ball.
            The player broke his bat in the last inning.
            She bought a new wooden bat for the match.
            Hold the bat with both hands and watch the pitcher.
            The ball hit the edge of the bat and flew high.
        """,
    },
    "spring": {
        "a season": """
            The cherry trees bloom in spring.
            After a long winter, spring came at last.
            Farmers sow their wheat in spring.
            The days grow longer in spring and the birds return.
            We plan to marry next spring, in April or May.
        """,
        "a coil": """
            The spring in the old mattress is broken.
            A metal spring pushes the door shut.
            The watch stopped because its spring had snapped.
            Stretch the spring and it pulls back.
            The clerk replaced the steel spring inside the pen.
        """,
    },
    "crane": {
        "a bird": """
            A grey crane stood in the marsh on one leg.
            The crane spread its wings and flew south.
            A crane builds its nest among the reeds.
            We watched a crane catch a frog in the shallow water.
            The call of the crane carries far over the wetland.
        """,
        "a machine": """
            The crane lifted steel beams to the top of the tower.
            A crane unloads containers from the ship.
            The driver of the crane sits high above the building site.
            They rented a crane to put the roof in place.
            The hook of the crane swung over the street.
        """,
    },
    "pitcher": {
        "a jug": """
            She filled the pitcher with lemonade.
            A pitcher of cold water stood on the table.
            The waiter brought a pitcher of beer and four glasses.
            The handle of the clay pitcher broke off.
            Pour the milk from the pitcher into the bowl.
        """,
        "a player": """
            The pitcher threw a fast ball.
            The team signed a new pitcher for the season.
            The pitcher struck out three batters in a row.
            The coach took the tired pitcher out of the game.
            A left-handed pitcher walked to the mound.
        """,
    },
    "seal": {
        "an animal": """
            A seal lay on the ice and sunned itself.
            The seal dived for fish under the waves.
            A baby seal has white fur.
            The seal at the zoo balances a ball on its nose.
            A polar bear hunts the seal at its breathing hole.
        """,
        "a closure": """
            The king pressed his seal into the hot wax.
            The letter still has its red seal unbroken.
            The rubber seal of the fridge door is worn.
            Break the seal before you open the bottle.
            The contract bears the official seal of the court.
        """,
    },
    "mole": {
        "an animal": """
            A mole dug tunnels under our lawn.
            The mole is nearly blind and eats worms.
            There is a fresh hill where the mole came up.
            The gardener set a trap for the mole.
            The soft black fur of the mole was full of earth.
        """,
        "on the skin": """
            She has a small mole on her left cheek.
            The doctor looked at the dark mole on his back.
            A mole that changes its colour should be examined.
            The mole above her lip made her famous.
            He had a mole on his arm removed by a surgeon.
        """,
    },
    "match": {
        "a game": """
            Our team won the match by two goals.
            The referee stopped the match because of rain.
            Thousands of fans came to watch the match.
            She lost the tennis match in three sets.
            The match ended in a draw after extra time.
        """,
        "for a fire": """
            He struck a match and lit the candle.
            The last match in the box was damp.
            A burning match fell on the dry straw.
            Keep the match away from the petrol.
            She blew out the match before it burned her fingers.
        """,
    },
    "ring": {
        "on a finger": """
            He put the ring on her finger.
            The jeweller set a diamond in the gold ring.
            She lost her wedding ring in the sea.
            The ring was too small for his thumb.
            A silver ring with a blue stone lay in the box.
        """,
        "for boxing": """
            The boxers climbed into the ring.
            He was knocked out and carried from the ring.
            The champion danced around the ring and threw a punch.
            The fighter leaned on the ropes of the ring.
            The crowd cheered as the wrestler entered the ring.
        """,
    },
    "palm": {
        "a tree": """
            A tall palm grows beside the beach.
            Coconuts fell from the palm in the wind.
            They rested in the shade of a palm in the oasis.
            The leaves of the palm cover the roof of the hut.
            The hotel planted a palm in front of the pool.
        """,
        "of a hand": """
            She held the coin in the palm of her hand.
            The fortune teller read the lines of his palm.
            He slapped the table with his open palm.
            A splinter stuck in my palm.
            Her palm was wet with sweat when we shook hands.
        """,
    },
    "light": {
        "not heavy": """
            The suitcase is light enough to carry.
            Feathers are soft and light.
            After a light lunch we went on walking.
            This tent is so light that it fits in a backpack.
            The bicycle has a light frame of carbon.
        """,
        "to see by": """
            Turn off the light before you go to sleep.
            The light of the moon shone on the lake.
            Plants need light and water to grow.
            A bright light blinded the driver.
            The light in the kitchen is broken, bring a candle.
        """,
    },
    "nail": {
        "of metal": """
            He hammered a nail into the wall.
            The picture hangs on a rusty nail.
            A nail went through the tyre of the car.
            Pull the nail out of the board with pliers.
            The carpenter held the nail between his lips.
        """,
        "of a finger": """
            She broke a nail when she opened the can.
            The nail of his little toe turned black.
            She painted each nail bright red.
            He bit his nail nervously.
            Dirt had collected under the nail of her thumb.
        """,
    },
    "mouse": {
        "an animal": """
            The cat caught a mouse in the barn.
            A mouse has eaten the cheese.
            The owl swooped down on a mouse in the field.
            She screamed when a mouse ran across the floor.
            A mouse had its nest in the hay.
        """,
        "of a computer": """
            Click the left button of the mouse.
            My mouse needs a new battery.
            Move the mouse to the icon on the screen.
            He bought a keyboard and a wireless mouse.
            The cursor jumps when I move the mouse.
        """,
    },
}


def ambiguous_words() -> list[str]:
    """The words, *bark* first."""
    return list(_SENTENCES)


def usages(word: str | None = None) -> list[Usage]:
    """All sentences of a word, or of all words: equally many for each of its two senses.

    Raises:
        ValueError: there are no sentences for this word.
    """
    if word is not None and word not in _SENTENCES:
        raise ValueError(f"word must be one of {', '.join(_SENTENCES)}, got {word!r}")
    return [
        Usage(name, sense, line.strip())
        for name in ([word] if word else _SENTENCES)
        for sense, lines in _SENTENCES[name].items()
        for line in lines.strip().split("\n")
    ]
